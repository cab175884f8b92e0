/* The timed call, and begin and end of a coroutine. */
#include "hot.h"

PyObject *
take_error(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(error, traceback);
        Py_DECREF(traceback);
    }
    Py_DECREF(type);
    return error;
#endif
}

void
give_error(PyObject *error)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef(Py_TYPE(error)), error, PyException_GetTraceback(error));
#endif
}

int64_t
clock_ask(PyObject *clock)
{
    PyObject *told = PyObject_CallNoArgs(clock);
    int64_t now_ns = told == NULL ? -1 : PyLong_AsLongLong(told);
    Py_XDECREF(told);
    if (now_ns == -1 && PyErr_Occurred()) {
        PyErr_WriteUnraisable(clock);
        return clock_now(NULL);
    }
    return now_ns;
}

int64_t
ask_units(PyObject *units_of, PyObject *result)
{
    PyObject *told = PyObject_CallOneArg(units_of, result);
    if (told == NULL) {
        return -1;
    }
    unsigned long units = PyLong_AsUnsignedLong(told);
    Py_DECREF(told);
    return PyErr_Occurred() ? -1 : (int64_t)units;
}

/* -- slow calls */

/* Beyond so many in an interval, they are counted alone. */
#define MOST_SEEN 1000

int
gate_open(Gate *gate, PyObject *words, PyObject *note)
{
    if (PyObject_GetBuffer(words, &gate->view, PyBUF_WRITABLE) < 0) {
        return -1;
    }
    if (gate->view.len < 24 || (uintptr_t)gate->view.buf % 8) {
        PyBuffer_Release(&gate->view);
        PyErr_SetString(PyExc_ValueError, "expected three aligned words");
        return -1;
    }
    gate->words = gate->view.buf;
    gate->note = Py_NewRef(note);
    return 0;
}

void
gate_close(Gate *gate)
{
    Py_CLEAR(gate->note);
    if (gate->view.obj != NULL) {
        PyBuffer_Release(&gate->view);
    }
}

int
gate_note(Gate *gate, Call *call, int64_t end_ns)
{
    if (!ring_is_mine(call->home) || gate->note == NULL) {
        return 0;
    }
    if (ring_load(gate->words + 1) >= MOST_SEEN) {
        atomic_fetch_add_explicit(gate->words + 1, 1, memory_order_relaxed);
        return 0;
    }
    PyObject *end = PyLong_FromLongLong(end_ns);
    if (end == NULL) {
        PyErr_Clear();
        return 0;
    }
    PyObject *arguments[] = {(PyObject *)call, end};
    PyObject *noted = PyObject_Vectorcall(gate->note, arguments, 2, NULL);
    Py_DECREF(end);
    if (noted == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_RecursionError)) {
            return -1;
        }
        PyErr_Clear();
    }
    Py_XDECREF(noted);
    return 0;
}

/* -- the timed call */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *function;
    PyObject *lookup;
    PyObject *clock;    /* NULL for the system's */
    PyObject *units_of; /* NULL where they are constant */
    Gate gate;
    PyObject *fail;
    PyObject *reduce;
    PyObject *observe; /* observe(the arguments): what is to be told the result, or None */
    PyObject *drive;   /* of a coroutine function, what makes the coroutine around the function's; else NULL */
    PyObject *drive_observed; /* likewise, of a call whose result is to be told */
    PyObject *dict;
    PyObject *weakrefs;
    uint32_t root;
    uint32_t units;
    bool outside; /* calls by holter's own threads are not recorded */
} TimedCall;

/* An error of the call is set: it is recorded, and is set again. */
static void
timed_failed(TimedCall *timed, Ring *ring, Call *call)
{
    PyObject *error = take_error();
    call_step_out(ring, call);
    PyObject *arguments[] = {(PyObject *)call, error};
    PyObject *noted = PyObject_Vectorcall(timed->fail, arguments, 2, NULL);
    if (noted != NULL) {
        Py_DECREF(noted);
        give_error(error);
        return;
    }
    /* The stack was full, or this was interrupted. */
    call_abandon(call, timed->lookup, timed->clock);
    if (PyErr_ExceptionMatches(PyExc_RecursionError)) {
        PyErr_Clear();
        give_error(error);
        return;
    }
    PyObject *interruption = take_error();
    if (interruption != error) {
        PyException_SetContext(interruption, error);
    } else {
        Py_DECREF(error);
    }
    give_error(interruption);
}

static inline PyObject *
timed_run(TimedCall *timed, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Ring *ring = ring_of(timed->lookup);
    if (UNLIKELY(ring == NULL)) {
        return NULL;
    }
    Call *call = call_enter(ring, timed->root, clock_now(timed->clock));
    if (UNLIKELY(call == NULL)) {
        return NULL;
    }
    PyObject *result = PyObject_Vectorcall(timed->function, args, nargsf, names);
    if (LIKELY(result != NULL)) {
        int64_t end_ns = clock_now(timed->clock);
        int64_t units = timed->units;
        if (UNLIKELY(timed->units_of != NULL)) {
            units = ask_units(timed->units_of, result);
        }
        if (LIKELY(units >= 0) &&
            (gate_holds(&timed->gate, end_ns - call_start(call)) || gate_note(&timed->gate, call, end_ns) == 0)) {
            if (UNLIKELY(call_leave(call, end_ns, (uint32_t)units) < 0)) {
                PyErr_Clear();
            }
            Py_DECREF(call);
            return result;
        }
        Py_DECREF(result);
    }
    timed_failed(timed, call->home, call);
    Py_DECREF(call);
    return NULL;
}

/* What is to be told the result of a call with these arguments, or None; NULL with an error set where that was
   interrupted. Without room on the stack nothing is. */
static PyObject *
timed_observe(TimedCall *timed, PyObject *const *args, size_t nargsf, PyObject *names)
{
    PyObject *finish = PyObject_Vectorcall(timed->observe, args, nargsf, names);
    if (finish == NULL && PyErr_ExceptionMatches(PyExc_RecursionError)) {
        PyErr_Clear();
        finish = Py_NewRef(Py_None);
    }
    return finish;
}

/* A call while samples are wanted: what it is given is copied before it begins, what it returns after it has ended. */
static __attribute__((noinline)) PyObject *
timed_observed(TimedCall *timed, PyObject *const *args, size_t nargsf, PyObject *names)
{
    PyObject *finish = timed_observe(timed, args, nargsf, names);
    if (finish == NULL) {
        return NULL;
    }
    PyObject *result = timed_run(timed, args, nargsf, names);
    if (result != NULL && finish != Py_None) {
        PyObject *told = PyObject_CallOneArg(finish, result);
        if (told == NULL && PyErr_ExceptionMatches(PyExc_RecursionError)) {
            PyErr_Clear();
        } else if (told == NULL) {
            Py_CLEAR(result);
        }
        Py_XDECREF(told);
    }
    Py_DECREF(finish);
    return result;
}

static PyObject *
timed_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    TimedCall *timed = (TimedCall *)self;
    if (UNLIKELY(timed->outside && thread_is_own)) {
        return PyObject_Vectorcall(timed->function, args, nargsf, names);
    }
    if (gate_wants(&timed->gate)) {
        return timed_observed(timed, args, nargsf, names);
    }
    return timed_run(timed, args, nargsf, names);
}

/* The coroutine that runs the function's own from its first step on. What the function refuses, it refuses here. */
static PyObject *
coroutine_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    TimedCall *timed = (TimedCall *)self;
    bool is_watched = LIKELY(!(timed->outside && thread_is_own));
    PyObject *finish = NULL;
    if (is_watched && gate_wants(&timed->gate)) {
        /* Now: what it is given may be gone when it ends. */
        finish = timed_observe(timed, args, nargsf, names);
        if (finish == NULL) {
            return NULL;
        }
    }
    PyObject *running = PyObject_Vectorcall(timed->function, args, nargsf, names);
    PyObject *coroutine = running;
    if (LIKELY(running != NULL && is_watched)) {
        PyObject *call = (PyObject *)call_make(running);
        Py_DECREF(running);
        coroutine = NULL;
        if (LIKELY(call != NULL && (finish == NULL || finish == Py_None))) {
            coroutine = PyObject_CallOneArg(timed->drive, call);
        } else if (call != NULL) {
            PyObject *arguments[] = {call, finish};
            coroutine = PyObject_Vectorcall(timed->drive_observed, arguments, 2, NULL);
        }
        Py_XDECREF(call);
    }
    Py_XDECREF(finish);
    return coroutine;
}

static PyObject *
timed_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"function", "root",   "lookup", "clock", "units", "units_of", "fail",
                            "reduce",   "limit",  "slow",   "observe", "drive", "drive_observed", "outside", NULL};
    PyObject *function, *lookup, *clock, *units_of, *fail, *reduce, *limit, *slow, *observe;
    PyObject *drive = Py_None, *drive_observed = Py_None;
    unsigned int root, units;
    int outside = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OIOOIOOOOOO|OOp", names, &function, &root, &lookup, &clock,
                                     &units, &units_of, &fail, &reduce, &limit, &slow, &observe, &drive, &drive_observed,
                                     &outside)) {
        return NULL;
    }
    TimedCall *timed = (TimedCall *)type->tp_alloc(type, 0);
    if (timed != NULL && gate_open(&timed->gate, limit, slow) < 0) {
        Py_CLEAR(timed);
    }
    if (timed != NULL) {
        timed->vectorcall = drive == Py_None ? timed_vectorcall : coroutine_vectorcall;
        timed->function = Py_NewRef(function);
        timed->lookup = Py_NewRef(lookup);
        timed->clock = optional(clock);
        timed->units_of = optional(units_of);
        timed->fail = Py_NewRef(fail);
        timed->reduce = Py_NewRef(reduce);
        timed->observe = Py_NewRef(observe);
        timed->drive = optional(drive);
        timed->drive_observed = optional(drive_observed);
        timed->outside = outside;
        timed->root = root;
        timed->units = units;
    }
    return (PyObject *)timed;
}

static int
timed_traverse(TimedCall *timed, visitproc visit, void *arg)
{
    Py_VISIT(timed->function);
    Py_VISIT(timed->lookup);
    Py_VISIT(timed->clock);
    Py_VISIT(timed->units_of);
    Py_VISIT(timed->fail);
    Py_VISIT(timed->reduce);
    Py_VISIT(timed->observe);
    Py_VISIT(timed->drive);
    Py_VISIT(timed->drive_observed);
    Py_VISIT(timed->gate.note);
    Py_VISIT(timed->dict);
    return 0;
}

static int
timed_clear(TimedCall *timed)
{
    Py_CLEAR(timed->function);
    Py_CLEAR(timed->lookup);
    Py_CLEAR(timed->clock);
    Py_CLEAR(timed->units_of);
    Py_CLEAR(timed->fail);
    Py_CLEAR(timed->reduce);
    Py_CLEAR(timed->observe);
    Py_CLEAR(timed->drive);
    Py_CLEAR(timed->drive_observed);
    Py_CLEAR(timed->gate.note);
    Py_CLEAR(timed->dict);
    return 0;
}

static void
timed_dealloc(TimedCall *timed)
{
    PyObject_GC_UnTrack(timed);
    if (timed->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)timed);
    }
    timed_clear(timed);
    gate_close(&timed->gate);
    Py_TYPE(timed)->tp_free(timed);
}

/* What is not its own is the function's: __code__, __defaults__, __globals__ and what others have noted on it. */
static PyObject *
timed_getattro(PyObject *self, PyObject *name)
{
    PyObject *own = PyObject_GenericGetAttr(self, name);
    if (own != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return own;
    }
    PyErr_Clear();
    return PyObject_GetAttr(((TimedCall *)self)->function, name);
}

static PyObject *
timed_get(PyObject *self, PyObject *owner, PyObject *type)
{
    (void)type;
    return owner == NULL || owner == Py_None ? Py_NewRef(self) : PyMethod_New(self, owner);
}

static PyObject *
timed_repr(PyObject *self)
{
    PyObject *name = PyObject_GetAttrString(self, "__qualname__");
    if (name == NULL) {
        PyErr_Clear();
        return PyUnicode_FromFormat("<watched call at %p>", self);
    }
    PyObject *text = PyUnicode_FromFormat("<watched function %S at %p>", name, self);
    Py_DECREF(name);
    return text;
}

/* As of functions, a copy of it is the thing itself. */
static PyObject *
timed_copy(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)args, (void)count;
    return Py_NewRef(self);
}

static PyObject *
timed_reduce(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyObject_CallOneArg(((TimedCall *)self)->reduce, self);
}

static PyMethodDef timed_methods[] = {
    {"__copy__", (PyCFunction)(void (*)(void))timed_copy, METH_FASTCALL, NULL},
    {"__deepcopy__", (PyCFunction)(void (*)(void))timed_copy, METH_FASTCALL, NULL},
    {"__reduce__", timed_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef timed_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject TimedCall_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "holter._hot.TimedCall",
    .tp_basicsize = sizeof(TimedCall),
    .tp_dealloc = (destructor)timed_dealloc,
    .tp_vectorcall_offset = offsetof(TimedCall, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_repr = timed_repr,
    .tp_getattro = timed_getattro,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_traverse = (traverseproc)timed_traverse,
    .tp_clear = (inquiry)timed_clear,
    .tp_weaklistoffset = offsetof(TimedCall, weakrefs),
    .tp_dictoffset = offsetof(TimedCall, dict),
    .tp_methods = timed_methods,
    .tp_getset = timed_getset,
    .tp_descr_get = timed_get,
    .tp_new = timed_new,
    .tp_doc = NULL,
};

/* -- coroutines */

typedef struct {
    PyObject_HEAD
    PyObject *lookup;
    PyObject *clock;
    PyObject *units_of;
    PyObject *failed;
    PyObject *context;
    Gate gate;
    uint32_t root;
    uint32_t units;
} CoroutineProbe;

static PyObject *
coroutine_begin(CoroutineProbe *probe, PyObject *unused)
{
    (void)unused;
    Ring *ring = ring_of(probe->lookup);
    Call *call = ring == NULL ? NULL : call_open(ring, probe->root, clock_now(probe->clock));
    if (call == NULL) {
        return NULL;
    }
    context_enter(probe->context, call);
    return (PyObject *)call;
}

/* start(call): begins what coroutine_vectorcall has made, and returns the coroutine to await. */
static PyObject *
coroutine_start(CoroutineProbe *probe, PyObject *object)
{
    Call *call = (Call *)object;
    if (!Py_IS_TYPE(object, &Call_Type) || call->pending == NULL) {
        PyErr_SetString(PyExc_TypeError, "expected a call that has yet to begin");
        return NULL;
    }
    Ring *ring = ring_of(probe->lookup);
    if (ring == NULL || call_begin(call, ring, probe->root, clock_now(probe->clock)) < 0) {
        return NULL;
    }
    PyObject *running = call->pending;
    call->pending = NULL;
    context_enter(probe->context, call);
    return running;
}

/* end(call, result) returns the result: a call that ended otherwise in the meantime stays as it is. */
static PyObject *
coroutine_end(CoroutineProbe *probe, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !Py_IS_TYPE(args[0], &Call_Type)) {
        PyErr_SetString(PyExc_TypeError, "expected an open call and its result");
        return NULL;
    }
    Call *call = (Call *)args[0];
    int64_t end_ns = clock_now(probe->clock);
    int64_t units = probe->units_of == NULL ? probe->units : ask_units(probe->units_of, args[1]);
    if (units < 0) {
        return NULL;
    }
    int64_t start_ns = call_start(call);
    if (LIKELY(start_ns != 0)) {
        if (!gate_holds(&probe->gate, end_ns - start_ns) && gate_note(&probe->gate, call, end_ns) < 0) {
            return NULL;
        }
        if (ring_is_mine(call->home)) {
            Ring *ring = ring_of(probe->lookup);
            if (ring == NULL ||
                ring_write(ring, call_leaf(call), end_ns, (double)(end_ns - start_ns), (uint32_t)units, OUTCOME_OK,
                           0) < 0) {
                return NULL;
            }
        }
        call_release(call);
        call_shorten(call);
    }
    return Py_NewRef(args[1]);
}

/* fail(call, error): by Python, and by itself where there is no room on the stack for that. */
static PyObject *
coroutine_fail(CoroutineProbe *probe, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !Py_IS_TYPE(args[0], &Call_Type)) {
        PyErr_SetString(PyExc_TypeError, "expected an open call and its error");
        return NULL;
    }
    /* At once, should there be no room on the stack for the rest. */
    context_leave(probe->context, (Call *)args[0]);
    PyObject *noted = PyObject_Vectorcall(probe->failed, args, 2, NULL);
    if (call_start((Call *)args[0]) == 0) {
        call_shorten((Call *)args[0]);
    }
    if (noted == NULL) {
        call_abandon((Call *)args[0], probe->lookup, probe->clock);
        if (!PyErr_ExceptionMatches(PyExc_RecursionError)) {
            return NULL;
        }
        PyErr_Clear();
    }
    Py_XDECREF(noted);
    Py_RETURN_NONE;
}

static PyObject *
coroutine_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"root", "lookup", "clock", "units", "units_of", "fail", "context", "limit", "slow", NULL};
    PyObject *lookup, *clock, *units_of, *failed, *context, *limit, *slow;
    unsigned int root, units;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "IOOIOOOOO", names, &root, &lookup, &clock, &units, &units_of,
                                     &failed, &context, &limit, &slow)) {
        return NULL;
    }
    CoroutineProbe *probe = (CoroutineProbe *)type->tp_alloc(type, 0);
    if (probe != NULL && gate_open(&probe->gate, limit, slow) < 0) {
        Py_CLEAR(probe);
    }
    if (probe != NULL) {
        probe->lookup = Py_NewRef(lookup);
        probe->clock = optional(clock);
        probe->units_of = optional(units_of);
        probe->failed = Py_NewRef(failed);
        probe->context = Py_NewRef(context);
        probe->root = root;
        probe->units = units;
    }
    return (PyObject *)probe;
}

static int
coroutine_traverse(CoroutineProbe *probe, visitproc visit, void *arg)
{
    Py_VISIT(probe->lookup);
    Py_VISIT(probe->clock);
    Py_VISIT(probe->units_of);
    Py_VISIT(probe->failed);
    Py_VISIT(probe->context);
    Py_VISIT(probe->gate.note);
    return 0;
}

static int
coroutine_clear(CoroutineProbe *probe)
{
    Py_CLEAR(probe->lookup);
    Py_CLEAR(probe->clock);
    Py_CLEAR(probe->units_of);
    Py_CLEAR(probe->failed);
    Py_CLEAR(probe->context);
    Py_CLEAR(probe->gate.note);
    return 0;
}

static void
coroutine_dealloc(CoroutineProbe *probe)
{
    PyObject_GC_UnTrack(probe);
    coroutine_clear(probe);
    gate_close(&probe->gate);
    Py_TYPE(probe)->tp_free(probe);
}

static PyMethodDef coroutine_methods[] = {
    {"begin", (PyCFunction)coroutine_begin, METH_NOARGS, NULL},
    {"start", (PyCFunction)coroutine_start, METH_O, NULL},
    {"end", (PyCFunction)(void (*)(void))coroutine_end, METH_FASTCALL, NULL},
    {"fail", (PyCFunction)(void (*)(void))coroutine_fail, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef coroutine_members[] = {
    {"failed", T_OBJECT_EX, offsetof(CoroutineProbe, failed), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject CoroutineProbe_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "holter._hot.CoroutineProbe",
    .tp_basicsize = sizeof(CoroutineProbe),
    .tp_dealloc = (destructor)coroutine_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_traverse = (traverseproc)coroutine_traverse,
    .tp_clear = (inquiry)coroutine_clear,
    .tp_methods = coroutine_methods,
    .tp_members = coroutine_members,
    .tp_new = coroutine_new,
    .tp_doc = "How the calls of one coroutine function begin and end.",
};
