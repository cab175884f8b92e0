/* The steps of a watched generator, timed: its producer while an item is asked for, its consumer between items. */
#include "hot.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *lookup;
    PyObject *clock;
    PyObject *context;
    PyObject *units_of; /* units_of(item), or NULL where no units are told */
    PyObject *fail;     /* fail(call, error, units) */
    Gate gate;
    uint32_t root;
    uint32_t first;
    uint32_t between;
    uint32_t producer_time;
    uint32_t consumer_wait;
} StreamProbe;

/* Iterates over a generator as `yield from` wants it: with send and throw. Without close, so that its caller decides. */
typedef struct {
    PyObject_HEAD
    PyObject *source;
    StreamProbe *probe;
    Call *call; /* NULL until the first item is asked for */
    PyObject *outer;  /* what was the innermost call of the thread */
    PyObject *around; /* the call of the context, where it was another one */
    Ring *ring;       /* that of the thread which asks */
    int64_t paused_ns;
    int64_t resumed_ns;
    int64_t produced_ns;
    int64_t waited_ns;
    uint64_t units;
    uint32_t series;
} StreamStep;

static void
set_context(PyObject *context, PyObject *call)
{
    PyObject *token = PyContextVar_Set(context, call);
    if (token == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(token);
}

/* An item is asked for; -1 with an error set. */
static int
step_resume(StreamStep *step)
{
    StreamProbe *probe = step->probe;
    Ring *ring = ring_of(probe->lookup);
    if (UNLIKELY(ring == NULL)) {
        return -1;
    }
    step->resumed_ns = clock_now(probe->clock);
    if (LIKELY(step->call != NULL)) {
        step->waited_ns += step->resumed_ns - step->paused_ns;
    } else {
        step->call = call_open(ring, probe->root, step->resumed_ns);
        if (step->call == NULL) {
            return -1;
        }
    }
    call_asked(step->call, step->resumed_ns);
    PyObject *around = NULL;
    if (PyContextVar_Get(probe->context, Py_None, &around) < 0) {
        PyErr_Clear();
    }
    if (UNLIKELY(around != NULL && around != Py_None)) {
        /* A stream may have begun before the coroutine that it is now in: it is the inner one all the same. */
        set_context(probe->context, Py_None);
        step->around = around;
    } else {
        Py_XDECREF(around);
    }
    step->outer = PyList_GET_ITEM(ring->current, 0);
    PyList_SET_ITEM(ring->current, 0, Py_NewRef(step->call));
    step->ring = (Ring *)Py_NewRef(ring);
    return 0;
}

/* The step is over, whatever came of it: calls are nested as before. */
static void
step_step_out(StreamStep *step)
{
    PyObject *current = step->ring->current, *inner = PyList_GET_ITEM(current, 0);
    PyList_SET_ITEM(current, 0, step->outer);
    step->outer = NULL;
    Py_DECREF(inner);
    Py_CLEAR(step->ring);
    if (UNLIKELY(step->around != NULL)) {
        set_context(step->probe->context, step->around);
        Py_CLEAR(step->around);
    }
}

/* An item is there; -1 with an error set. */
static int
step_pause(StreamStep *step, PyObject *item)
{
    StreamProbe *probe = step->probe;
    int64_t now_ns = step->paused_ns = clock_now(probe->clock);
    int64_t produced_ns = now_ns - step->resumed_ns;
    step->produced_ns += produced_ns;
    call_asked(step->call, -1);
    if (UNLIKELY(probe->units_of != NULL)) {
        int64_t units = ask_units(probe->units_of, item);
        if (units < 0) {
            return -1;
        }
        step->units = step->units + (uint64_t)units > UINT32_MAX ? UINT32_MAX : step->units + (uint64_t)units;
    }
    Ring *ring = ring_of(probe->lookup);
    if (UNLIKELY(ring == NULL ||
                 ring_write(ring, step->series, now_ns, (double)produced_ns, 0, OUTCOME_OK, 0) < 0)) {
        return -1;
    }
    step->series = probe->between;
    return 0;
}

/* The stream is over, by the error that is set if there is one, which stays set. */
static void
step_end(StreamStep *step)
{
    StreamProbe *probe = step->probe;
    Call *call = step->call;
    if (call == NULL || call_start(call) == 0) {
        return;
    }
    PyObject *error = PyErr_Occurred() ? take_error() : NULL;
    int64_t now_ns = clock_now(probe->clock);
    if (error == NULL && !gate_holds(&probe->gate, now_ns - call_start(call)) &&
        gate_note(&probe->gate, call, now_ns) < 0) {
        error = take_error();
    }
    Ring *ring = ring_is_mine(call->home) ? ring_of(probe->lookup) : NULL;
    if (ring != NULL) {
        double produced_ns = (double)(step->produced_ns + now_ns - step->resumed_ns);
        ring_write(ring, probe->producer_time, now_ns, produced_ns, 0, OUTCOME_OK, 0);
        ring_write(ring, probe->consumer_wait, now_ns, (double)step->waited_ns, 0, OUTCOME_OK, 0);
    }
    if (error == NULL) {
        if (ring != NULL) {
            double duration_ns = (double)(now_ns - call_start(call));
            ring_write(ring, call_leaf(call), now_ns, duration_ns, (uint32_t)step->units, OUTCOME_OK, 0);
        }
        call_release(call);
        PyErr_Clear();
        return;
    }
    PyErr_Clear();
    PyObject *noted =
        PyObject_CallFunction(probe->fail, "OOK", (PyObject *)call, error, (unsigned long long)step->units);
    if (noted == NULL) {
        /* Interrupted, or no room left on the stack: the call ends all the same. */
        call_abandon(call, probe->lookup, probe->clock);
        if (!PyErr_ExceptionMatches(PyExc_RecursionError)) {
            PyObject *interruption = take_error();
            PyException_SetContext(interruption, error);
            give_error(interruption);
            return;
        }
        PyErr_Clear();
    }
    Py_XDECREF(noted);
    give_error(error);
}

/* Ends a step that brought *item*, or NULL; returns the item, or NULL with what is set. */
static PyObject *
step_done(StreamStep *step, PyObject *item)
{
    if (LIKELY(item != NULL)) {
        if (UNLIKELY(step_pause(step, item) < 0)) {
            Py_CLEAR(item);
            step_end(step);
        }
    } else {
        step_end(step);
    }
    step_step_out(step);
    return item;
}

static PySendResult
step_send_slot(StreamStep *step, PyObject *value, PyObject **result)
{
    *result = NULL;
    if (UNLIKELY(step_resume(step) < 0)) {
        return PYGEN_ERROR;
    }
    PySendResult how = PyIter_Send(step->source, value, result);
    if (LIKELY(how == PYGEN_NEXT)) {
        *result = step_done(step, *result);
        return *result == NULL ? PYGEN_ERROR : PYGEN_NEXT;
    }
    step_end(step);
    step_step_out(step);
    if (UNLIKELY(how == PYGEN_RETURN && PyErr_Occurred())) {
        Py_CLEAR(*result);
        return PYGEN_ERROR;
    }
    return how;
}

static PyObject *
step_next(StreamStep *step)
{
    PyObject *result;
    switch (step_send_slot(step, Py_None, &result)) {
    case PYGEN_NEXT:
        return result;
    case PYGEN_RETURN:
        if (result != Py_None) {
            PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
            if (stop != NULL) {
                PyErr_SetObject(PyExc_StopIteration, stop);
                Py_DECREF(stop);
            }
        }
        Py_DECREF(result);
        return NULL;
    default:
        return NULL;
    }
}

static PyObject *
step_send(StreamStep *step, PyObject *value)
{
    PyObject *result;
    switch (step_send_slot(step, value, &result)) {
    case PYGEN_NEXT:
        return result;
    case PYGEN_RETURN: {
        PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
        Py_DECREF(result);
        if (stop != NULL) {
            PyErr_SetObject(PyExc_StopIteration, stop);
            Py_DECREF(stop);
        }
        return NULL;
    }
    default:
        return NULL;
    }
}

/* StopIteration is how a generator returns: not an error. Leaves what is set. */
static PyObject *
step_thrown(StreamStep *step, PyObject *item)
{
    if (item == NULL && PyErr_ExceptionMatches(PyExc_StopIteration)) {
        PyObject *stop = take_error();
        step_end(step);
        step_step_out(step);
        if (PyErr_Occurred()) {
            Py_DECREF(stop);
        } else {
            give_error(stop);
        }
        return NULL;
    }
    return step_done(step, item);
}

static PyObject *
step_throw(StreamStep *step, PyObject *const *args, Py_ssize_t count)
{
    if (count < 1 || count > 3) {
        PyErr_Format(PyExc_TypeError, "throw() takes one to three arguments (%zd given)", count);
        return NULL;
    }
    PyObject *throw = PyObject_GetAttrString(step->source, "throw");
    if (throw == NULL || step_resume(step) < 0) {
        Py_XDECREF(throw);
        return NULL;
    }
    PyObject *error = NULL;
    if (count > 1) {
        /* As one object, because the other form is going out of use. */
        error = args[1] == Py_None ? PyObject_CallNoArgs(args[0])
                : PyExceptionInstance_Check(args[1]) ? Py_NewRef(args[1])
                                                     : PyObject_CallOneArg(args[0], args[1]);
        if (error != NULL && count > 2 && PyTraceBack_Check(args[2])) {
            PyException_SetTraceback(error, args[2]);
        }
        args = &error;
    }
    PyObject *item = args[0] == NULL ? NULL : PyObject_CallOneArg(throw, args[0]);
    Py_DECREF(throw);
    Py_XDECREF(error);
    return step_thrown(step, item);
}

static PyObject *
step_get_is_over(StreamStep *step, void *unused)
{
    (void)unused;
    return PyBool_FromLong(step->call != NULL && call_start(step->call) == 0);
}

static int
step_traverse(StreamStep *step, visitproc visit, void *arg)
{
    Py_VISIT(step->source);
    Py_VISIT(step->probe);
    Py_VISIT(step->call);
    Py_VISIT(step->outer);
    Py_VISIT(step->around);
    Py_VISIT(step->ring);
    return 0;
}

static int
step_clear(StreamStep *step)
{
    Py_CLEAR(step->source);
    Py_CLEAR(step->probe);
    Py_CLEAR(step->call);
    Py_CLEAR(step->outer);
    Py_CLEAR(step->around);
    Py_CLEAR(step->ring);
    return 0;
}

static void
step_dealloc(StreamStep *step)
{
    PyObject_GC_UnTrack(step);
    step_clear(step);
    Py_TYPE(step)->tp_free(step);
}

static PyMethodDef step_methods[] = {
    {"send", (PyCFunction)step_send, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))step_throw, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef step_getset[] = {
    {"is_over", (getter)step_get_is_over, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyAsyncMethods step_as_async = {.am_send = (sendfunc)step_send_slot};

PyTypeObject StreamStep_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "holter._hot.StreamStep",
    .tp_basicsize = sizeof(StreamStep),
    .tp_dealloc = (destructor)step_dealloc,
    .tp_as_async = &step_as_async,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_traverse = (traverseproc)step_traverse,
    .tp_clear = (inquiry)step_clear,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = (iternextfunc)step_next,
    .tp_methods = step_methods,
    .tp_getset = step_getset,
    .tp_doc = "The steps of one watched generator, for `yield from`.",
};

static PyObject *
probe_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    StreamProbe *probe = (StreamProbe *)self;
    if (PyVectorcall_NARGS(nargsf) != 1 || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "expected a generator");
        return NULL;
    }
    StreamStep *step = PyObject_GC_New(StreamStep, &StreamStep_Type);
    if (step == NULL) {
        return NULL;
    }
    step->source = Py_NewRef(args[0]);
    step->probe = (StreamProbe *)Py_NewRef(probe);
    step->call = NULL;
    step->outer = step->around = NULL;
    step->ring = NULL;
    step->paused_ns = step->resumed_ns = step->produced_ns = step->waited_ns = 0;
    step->units = 0;
    step->series = probe->first;
    PyObject_GC_Track(step);
    return (PyObject *)step;
}

static PyObject *
probe_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"root",  "first",   "between",  "producer_time", "consumer_wait", "lookup",
                            "clock", "context", "units_of", "fail",          "limit",         "slow",
                            NULL};
    PyObject *lookup, *clock, *context, *units_of, *fail, *limit, *slow;
    unsigned int root, first, between, producer_time, consumer_wait;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "IIIIIOOOOOOO", names, &root, &first, &between, &producer_time,
                                     &consumer_wait, &lookup, &clock, &context, &units_of, &fail, &limit, &slow)) {
        return NULL;
    }
    StreamProbe *probe = (StreamProbe *)type->tp_alloc(type, 0);
    if (probe != NULL && gate_open(&probe->gate, limit, slow) < 0) {
        Py_CLEAR(probe);
    }
    if (probe != NULL) {
        probe->vectorcall = probe_call;
        probe->lookup = Py_NewRef(lookup);
        probe->clock = optional(clock);
        probe->context = Py_NewRef(context);
        probe->units_of = optional(units_of);
        probe->fail = Py_NewRef(fail);
        probe->root = root;
        probe->first = first;
        probe->between = between;
        probe->producer_time = producer_time;
        probe->consumer_wait = consumer_wait;
    }
    return (PyObject *)probe;
}

static int
probe_traverse(StreamProbe *probe, visitproc visit, void *arg)
{
    Py_VISIT(probe->lookup);
    Py_VISIT(probe->clock);
    Py_VISIT(probe->context);
    Py_VISIT(probe->units_of);
    Py_VISIT(probe->fail);
    Py_VISIT(probe->gate.note);
    return 0;
}

static int
probe_clear(StreamProbe *probe)
{
    Py_CLEAR(probe->lookup);
    Py_CLEAR(probe->clock);
    Py_CLEAR(probe->context);
    Py_CLEAR(probe->units_of);
    Py_CLEAR(probe->fail);
    Py_CLEAR(probe->gate.note);
    return 0;
}

static void
probe_dealloc(StreamProbe *probe)
{
    PyObject_GC_UnTrack(probe);
    probe_clear(probe);
    gate_close(&probe->gate);
    Py_TYPE(probe)->tp_free(probe);
}

PyTypeObject StreamProbe_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "holter._hot.StreamProbe",
    .tp_basicsize = sizeof(StreamProbe),
    .tp_dealloc = (destructor)probe_dealloc,
    .tp_vectorcall_offset = offsetof(StreamProbe, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_traverse = (traverseproc)probe_traverse,
    .tp_clear = (inquiry)probe_clear,
    .tp_new = probe_new,
    .tp_doc = "The series of one watched stream; called with a generator, returns its steps.",
};
