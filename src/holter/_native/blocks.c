/* Spans, and the figures that user code records one by one. */
#include "hot.h"

/* -- spans */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *lookup;
    PyObject *clock;
    PyObject *context;
    PyObject *checked_name; /* checked_name(name): the name to use for one that is no short str */
    PyObject *series_of;    /* series_of(name, root or None): the series of a span */
    PyObject *failed;       /* failed(series, error): series and outcome of a span that failed */
    PyObject *decorate;     /* decorate(name, function): the function as a span */
    PyObject *dict;
} Spans;

typedef struct {
    int64_t start_ns;
    uint64_t around; /* root of the call around it, plus one; 0 for none */
    uint32_t id;
} Level;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    Spans *spans;
    PyObject *name;
    bool may_enter; /* whether somebody has asked for its __enter__ */
    Py_ssize_t depth;
    Py_ssize_t room; /* for levels beyond the first */
    Level first;
    Level *more;
} Span;

enum { LONGEST_NAME = 200 };

#ifdef KEEPS_FREE_OBJECTS
enum { MOST_FREE_SPANS = 64 };
static Span *free_spans[MOST_FREE_SPANS];
static int free_span_count;
#endif

static PyObject *span_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names);

static PyObject *
spans_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Spans *spans = (Spans *)self;
    Py_ssize_t count = PyVectorcall_NARGS(nargsf), named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    if (count + named != 1 ||
        (named && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "name") != 0)) {
        return PyErr_Format(PyExc_TypeError, "span() takes one argument, name (%zd given)", count + named);
    }
    PyObject *name = args[0];
    if (LIKELY(PyUnicode_CheckExact(name) && PyUnicode_GET_LENGTH(name) <= LONGEST_NAME)) {
        Py_INCREF(name);
    } else {
        name = PyObject_CallOneArg(spans->checked_name, name);
        if (name == NULL) {
            return NULL;
        }
    }
    Span *span;
#ifdef KEEPS_FREE_OBJECTS
    if (LIKELY(free_span_count > 0)) {
        span = free_spans[--free_span_count];
        (void)PyObject_INIT((PyObject *)span, &Span_Type);
    } else
#endif
    {
        span = PyObject_New(Span, &Span_Type);
        if (span == NULL) {
            Py_DECREF(name);
            return NULL;
        }
    }
    span->vectorcall = span_call;
    span->spans = (Spans *)Py_NewRef(spans);
    span->name = name;
    span->may_enter = false;
    span->depth = span->room = 0;
    span->more = NULL;
    return (PyObject *)span;
}

static void
span_dealloc(Span *span)
{
    Py_CLEAR(span->spans);
    Py_CLEAR(span->name);
    PyMem_Free(span->more);
#ifdef KEEPS_FREE_OBJECTS
    if (free_span_count < MOST_FREE_SPANS) {
        free_spans[free_span_count++] = span;
        return;
    }
#endif
    PyObject_Free(span);
}

static Level *
span_push(Span *span)
{
    if (LIKELY(span->depth == 0)) {
        span->depth = 1;
        return &span->first;
    }
    if (span->depth > span->room) {
        Py_ssize_t room = span->room * 2 + 4;
        Level *more = PyMem_Realloc(span->more, (size_t)room * sizeof *more);
        if (more == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        span->more = more;
        span->room = room;
    }
    return &span->more[span->depth++ - 1];
}

static PyObject *
span_enter(Span *span)
{
    Spans *spans = span->spans;
    Ring *ring = ring_of(spans->lookup);
    Level *level = ring == NULL ? NULL : span_push(span);
    if (level == NULL) {
        return NULL;
    }
    Call *call = call_innermost(ring, spans->context);
    level->around = call == NULL ? 0 : (uint64_t)call->root + 1;
    level->id = call == NULL ? 0 : (uint32_t)call_start(call);
    Py_XDECREF(call);
    level->start_ns = clock_now(spans->clock);
    return Py_NewRef(span);
}

/* The series of this span, remembered by its thread's ring; UINT32_MAX with an error set. */
static uint32_t
span_series(Ring *ring, Span *span, uint64_t around)
{
    uintptr_t at = ((uintptr_t)span->name >> 4) + around * 31;
    SpanEntry *entry = &ring->spans[(at ^ at >> 6) % SPAN_CACHE];
    PyObject *spans = (PyObject *)span->spans;
    if (LIKELY(entry->name == span->name && entry->around == around && entry->spans == spans)) {
        return entry->series;
    }
    PyObject *root = around ? PyLong_FromUnsignedLongLong(around - 1) : Py_NewRef(Py_None);
    PyObject *told =
        root == NULL ? NULL : PyObject_CallFunctionObjArgs(span->spans->series_of, span->name, root, NULL);
    unsigned long series = told == NULL ? UINT32_MAX : PyLong_AsUnsignedLong(told);
    Py_XDECREF(root);
    Py_XDECREF(told);
    if (PyErr_Occurred()) {
        return UINT32_MAX;
    }
    PyObject *spans_before = entry->spans, *name_before = entry->name;
    *entry = (SpanEntry){Py_NewRef(spans), Py_NewRef(span->name), around, (uint32_t)series};
    Py_XDECREF(spans_before);
    Py_XDECREF(name_before);
    return (uint32_t)series;
}

static PyObject *
span_exit(Span *span, PyObject *const *args)
{
    Spans *spans = span->spans;
    int64_t end_ns = clock_now(spans->clock);
    if (UNLIKELY(span->depth == 0)) {
        PyErr_SetString(PyExc_TypeError, "__exit__ comes after __enter__");
        return NULL;
    }
    span->depth--;
    Level level = span->depth ? span->more[span->depth - 1] : span->first;
    Ring *ring = ring_of(spans->lookup);
    uint32_t series = ring == NULL ? UINT32_MAX : span_series(ring, span, level.around);
    if (UNLIKELY(series == UINT32_MAX)) {
        return NULL;
    }
    unsigned outcome = OUTCOME_OK;
    if (UNLIKELY(args[1] != Py_None)) {
        PyObject *told = PyObject_CallFunction(spans->failed, "IO", series, args[1]);
        if (told == NULL || !PyArg_ParseTuple(told, "II", &series, &outcome)) {
            Py_XDECREF(told);
            return NULL;
        }
        Py_DECREF(told);
        /* What was asked may have made this thread take another ring. */
        ring = ring_of(spans->lookup);
        if (ring == NULL) {
            return NULL;
        }
    }
    if (UNLIKELY(ring_write(ring, series, end_ns, (double)(end_ns - level.start_ns), 0, outcome, level.id) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/*
 * `with` looks __enter__ and __exit__ up and calls what it finds. Bound methods, made and thrown away each time, would be
 * a quarter of what a span costs; so what it finds is the span itself, which tells by the number of arguments what it is
 * called as: none enters, three exit, and one, as everywhere, is a function to decorate.
 */
static PyObject *
span_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Span *span = (Span *)self;
    Py_ssize_t count = PyVectorcall_NARGS(nargsf), named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    if (LIKELY(!named)) {
        if (count == 3) {
            return span_exit(span, args);
        }
        if (count == 0 && span->may_enter) {
            return span_enter(span);
        }
    }
    if (count + named != 1 ||
        (named && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "function") != 0)) {
        return PyErr_Format(PyExc_TypeError, "a span takes one argument, function (%zd given)", count + named);
    }
    return PyObject_CallFunctionObjArgs(span->spans->decorate, span->name, args[0], NULL);
}

/* What stands for a method of spans in their class: of a span, the span; and a function of the span by itself. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    Py_ssize_t takes; /* arguments beside the span */
} SpanMethod;

static PyObject *
span_method_get(PyObject *self, PyObject *span, PyObject *type)
{
    (void)type;
    if (span == NULL || !Py_IS_TYPE(span, &Span_Type)) {
        return Py_NewRef(self);
    }
    ((Span *)span)->may_enter = true;
    return Py_NewRef(span);
}

static PyObject *
span_method_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Py_ssize_t count = PyVectorcall_NARGS(nargsf), takes = ((SpanMethod *)self)->takes;
    if (names != NULL || count != takes + 1 || !Py_IS_TYPE(args[0], &Span_Type)) {
        return PyErr_Format(PyExc_TypeError, "expected a span and %zd arguments", takes);
    }
    return takes ? span_exit((Span *)args[0], args + 1) : span_enter((Span *)args[0]);
}

static PyTypeObject SpanMethod_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "holter._hot.SpanMethod",
    .tp_basicsize = sizeof(SpanMethod),
    .tp_vectorcall_offset = offsetof(SpanMethod, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_descr_get = span_method_get,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_doc = "Enters a span, or exits it.",
};

static int
add_span_method(const char *name, Py_ssize_t takes)
{
    SpanMethod *method = PyObject_New(SpanMethod, &SpanMethod_Type);
    if (method == NULL) {
        return -1;
    }
    method->vectorcall = span_method_call;
    method->takes = takes;
    int added = PyDict_SetItemString(Span_Type.tp_dict, name, (PyObject *)method);
    Py_DECREF(method);
    return added;
}

int
spans_prepare(void)
{
    if (Span_Type.tp_dict != NULL) {
        return 0;
    }
    Span_Type.tp_dict = PyDict_New();
    if (Span_Type.tp_dict == NULL || PyType_Ready(&SpanMethod_Type) < 0 || add_span_method("__enter__", 0) < 0 ||
        add_span_method("__exit__", 3) < 0) {
        return -1;
    }
    return PyType_Ready(&Span_Type);
}

PyTypeObject Span_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "holter._hot.Span",
    .tp_basicsize = sizeof(Span),
    .tp_dealloc = (destructor)span_dealloc,
    .tp_vectorcall_offset = offsetof(Span, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_doc = "Times a stretch of code, as `with` or as a decorator of functions and coroutines.",
};

static PyObject *
spans_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"lookup", "clock", "context", "checked_name", "series_of", "failed", "decorate", NULL};
    PyObject *lookup, *clock, *context, *checked_name, *series_of, *failed, *decorate;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOOOO", names, &lookup, &clock, &context, &checked_name,
                                     &series_of, &failed, &decorate)) {
        return NULL;
    }
    Spans *spans = (Spans *)type->tp_alloc(type, 0);
    if (spans != NULL) {
        spans->vectorcall = spans_call;
        spans->lookup = Py_NewRef(lookup);
        spans->clock = optional(clock);
        spans->context = Py_NewRef(context);
        spans->checked_name = Py_NewRef(checked_name);
        spans->series_of = Py_NewRef(series_of);
        spans->failed = Py_NewRef(failed);
        spans->decorate = Py_NewRef(decorate);
    }
    return (PyObject *)spans;
}

static int
spans_traverse(Spans *spans, visitproc visit, void *arg)
{
    Py_VISIT(spans->lookup);
    Py_VISIT(spans->clock);
    Py_VISIT(spans->context);
    Py_VISIT(spans->checked_name);
    Py_VISIT(spans->series_of);
    Py_VISIT(spans->failed);
    Py_VISIT(spans->decorate);
    Py_VISIT(spans->dict);
    return 0;
}

static int
spans_clear(Spans *spans)
{
    Py_CLEAR(spans->lookup);
    Py_CLEAR(spans->clock);
    Py_CLEAR(spans->context);
    Py_CLEAR(spans->checked_name);
    Py_CLEAR(spans->series_of);
    Py_CLEAR(spans->failed);
    Py_CLEAR(spans->decorate);
    Py_CLEAR(spans->dict);
    return 0;
}

static void
spans_dealloc(Spans *spans)
{
    PyObject_GC_UnTrack(spans);
    spans_clear(spans);
    Py_TYPE(spans)->tp_free(spans);
}

static PyGetSetDef spans_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject Spans_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "holter._hot.Spans",
    .tp_basicsize = sizeof(Spans),
    .tp_dealloc = (destructor)spans_dealloc,
    .tp_vectorcall_offset = offsetof(Spans, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_traverse = (traverseproc)spans_traverse,
    .tp_clear = (inquiry)spans_clear,
    .tp_dictoffset = offsetof(Spans, dict),
    .tp_getset = spans_getset,
    .tp_new = spans_new,
    .tp_doc = NULL,
};

/* -- single figures */

typedef struct {
    PyObject_HEAD
    PyObject *lookup;
    PyObject *clock;
    PyObject *unusual; /* unusual(value): records or counts what is no plain number */
    uint32_t series;
} Metric;

/* The one argument of a method, by position or name, borrowed; NULL with an error set, or where there is none. */
static PyObject *
one_argument(PyObject *const *args, Py_ssize_t count, PyObject *names, const char *method, const char *name)
{
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    if (count + named == 1 && (!named || PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), name) == 0)) {
        return args[0];
    }
    PyErr_Format(PyExc_TypeError, "%s() takes one argument, %s", method, name);
    return NULL;
}

/* Whether *value* is an int or float without foreign code, and not beyond 1e300. */
static inline bool
is_plain(PyObject *value, double *number)
{
    if (LIKELY(PyFloat_CheckExact(value))) {
        *number = PyFloat_AS_DOUBLE(value);
    } else if (PyLong_CheckExact(value)) {
        *number = PyLong_AsDouble(value);
        if (UNLIKELY(*number == -1.0 && PyErr_Occurred())) {
            PyErr_Clear();
            return false;
        }
    } else {
        return false;
    }
    return *number > -1e300 && *number < 1e300;
}

static PyObject *
metric_write(Metric *metric, double number)
{
    Ring *ring = ring_of(metric->lookup);
    if (UNLIKELY(ring == NULL ||
                 ring_write(ring, metric->series, clock_now(metric->clock), number, 0, OUTCOME_OK, 0) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
counter_add(Metric *metric, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    double number = 1.0;
    if (count || names) {
        PyObject *amount = one_argument(args, count, names, "add", "amount");
        if (amount == NULL) {
            return NULL;
        }
        if (UNLIKELY(!is_plain(amount, &number) || number < 0)) {
            return PyObject_CallOneArg(metric->unusual, amount);
        }
    }
    return metric_write(metric, number);
}

static PyObject *
histogram_record(Metric *metric, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *value = one_argument(args, count, names, "record", "value");
    double number;
    if (value == NULL) {
        return NULL;
    }
    return LIKELY(is_plain(value, &number)) ? metric_write(metric, number) : PyObject_CallOneArg(metric->unusual, value);
}

static PyObject *
gauge_set(Metric *metric, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *value = one_argument(args, count, names, "set", "value");
    double number = 0.0;
    if (value == NULL) {
        return NULL;
    }
    /* Of a gauge, a float that is not finite is a value too. */
    if (UNLIKELY(!is_plain(value, &number) && !PyFloat_CheckExact(value))) {
        return PyObject_CallOneArg(metric->unusual, value);
    }
    Ring *ring = ring_of(metric->lookup);
    if (UNLIKELY(ring == NULL || ring_put(ring, metric->series, clock_now(metric->clock), number) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
metric_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"series", "lookup", "clock", "unusual", NULL};
    PyObject *lookup, *clock, *unusual;
    unsigned int series;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "IOOO", names, &series, &lookup, &clock, &unusual)) {
        return NULL;
    }
    Metric *metric = (Metric *)type->tp_alloc(type, 0);
    if (metric != NULL) {
        metric->lookup = Py_NewRef(lookup);
        metric->clock = optional(clock);
        metric->unusual = Py_NewRef(unusual);
        metric->series = series;
    }
    return (PyObject *)metric;
}

static int
metric_traverse(Metric *metric, visitproc visit, void *arg)
{
    Py_VISIT(metric->lookup);
    Py_VISIT(metric->clock);
    Py_VISIT(metric->unusual);
    return 0;
}

static int
metric_clear(Metric *metric)
{
    Py_CLEAR(metric->lookup);
    Py_CLEAR(metric->clock);
    Py_CLEAR(metric->unusual);
    return 0;
}

static void
metric_dealloc(Metric *metric)
{
    PyObject_GC_UnTrack(metric);
    metric_clear(metric);
    Py_TYPE(metric)->tp_free(metric);
}

#define METRIC_TYPE(NAME, METHOD, FUNCTION, DOC)                                                                   \
    static PyMethodDef FUNCTION##_methods[] = {                                                                    \
        {METHOD, (PyCFunction)(void (*)(void))FUNCTION, METH_FASTCALL | METH_KEYWORDS, NULL},                      \
        {NULL, NULL, 0, NULL},                                                                                     \
    };                                                                                                             \
    PyTypeObject NAME##_Type = {                                                                                   \
        PyVarObject_HEAD_INIT(NULL, 0).tp_name = "holter._hot." #NAME,                                             \
        .tp_basicsize = sizeof(Metric),                                                                            \
        .tp_dealloc = (destructor)metric_dealloc,                                                                  \
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,                                                       \
        .tp_traverse = (traverseproc)metric_traverse,                                                              \
        .tp_clear = (inquiry)metric_clear,                                                                         \
        .tp_methods = FUNCTION##_methods,                                                                          \
        .tp_new = metric_new,                                                                                      \
        .tp_doc = DOC,                                                                                             \
    }

METRIC_TYPE(Counter, "add", counter_add, "A sum that only grows; holter.probes.metrics.Counter specifies it.");
METRIC_TYPE(Gauge, "set", gauge_set, "A value that goes up and down; holter.probes.metrics.Gauge specifies it.");
METRIC_TYPE(Histogram, "record", histogram_record,
            "A distribution of values; holter.probes.metrics.Histogram specifies it.");
