/*
 * What the garbage collector calls when a collection begins and ends: holter.gctimer specifies it. It runs in whatever
 * thread allocates, in the midst of anything, so it stores numbers and does nothing else. Only one collection runs at a
 * time, also where there is no GIL, so it has one writer.
 */
#include "hot.h"

enum {
    BEGUN,
    PAUSES,
    DURATIONS,
    COUNT = 4,
    SUM = 8,
    TABLE = 16,
    GENERATIONS = 4,
    MOST = 1024,
    WORDS = 5,
    TIMES = TABLE + MOST * WORDS,
    LENGTH = TIMES + MOST,
};
static const int64_t TOGETHER_NS = 10000000;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    Py_buffer view;
    PyObject *clock;
    PyObject *generation;
} CollectionTimer;

static inline int64_t
get(ring_word *words, int64_t index)
{
    return (int64_t)ring_load(words + index);
}

static inline void
set(ring_word *words, int64_t index, int64_t value)
{
    ring_store(words + index, (uint64_t)value);
}

static void
ended(ring_word *words, int64_t begun, int64_t end, int64_t generation)
{
    int64_t taken = end - begun;
    set(words, COUNT + generation, get(words, COUNT + generation) + 1);
    set(words, SUM + generation, get(words, SUM + generation) + taken);
    int64_t number = get(words, DURATIONS);
    set(words, TIMES + number % MOST, taken * GENERATIONS + generation);
    set(words, DURATIONS, number + 1);
    number = get(words, PAUSES);
    int64_t at = TABLE + (number + MOST - 1) % MOST * WORDS;
    if (number && begun - get(words, at) < TOGETHER_NS) {
        set(words, at + 1, end);
        set(words, at + 2, get(words, at + 2) + taken);
        return;
    }
    at = TABLE + number % MOST * WORDS;
    set(words, at, begun);
    set(words, at + 1, end);
    set(words, at + 2, taken);
    set(words, PAUSES, number + 1);
}

static PyObject *
timer_call(PyObject *self, PyObject *const *arguments, size_t flagged, PyObject *names)
{
    CollectionTimer *timer = (CollectionTimer *)self;
    if (PyVectorcall_NARGS(flagged) != 2 || names != NULL || !PyUnicode_Check(arguments[0]) ||
        PyUnicode_GET_LENGTH(arguments[0]) < 3 || !PyDict_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "expected a phase and what the garbage collector tells of it");
        return NULL;
    }
    ring_word *words = timer->view.buf;
    int64_t now = clock_now(timer->clock);
    if (now == -1 && PyErr_Occurred()) {
        return NULL;
    }
    /* "start" or "stop" */
    if (PyUnicode_READ_CHAR(arguments[0], 2) == 'a') {
        set(words, BEGUN, now);
        Py_RETURN_NONE;
    }
    int64_t begun = get(words, BEGUN);
    set(words, BEGUN, 0);
    if (!begun) {
        Py_RETURN_NONE;
    }
    PyObject *told = PyDict_GetItemWithError(arguments[1], timer->generation);
    int64_t generation = told == NULL ? 0 : PyLong_AsLongLong(told);
    if (PyErr_Occurred()) {
        return NULL;
    }
    ended(words, begun, now, generation & (GENERATIONS - 1));
    Py_RETURN_NONE;
}

static PyObject *
timer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"words", "clock", NULL};
    PyObject *memory, *clock = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O", keywords, &memory, &clock)) {
        return NULL;
    }
    CollectionTimer *timer = (CollectionTimer *)type->tp_alloc(type, 0);
    if (timer == NULL) {
        return NULL;
    }
    timer->vectorcall = timer_call;
    timer->clock = optional(clock);
    timer->generation = PyUnicode_InternFromString("generation");
    if (timer->generation == NULL || PyObject_GetBuffer(memory, &timer->view, PyBUF_WRITABLE) < 0) {
        Py_DECREF(timer);
        return NULL;
    }
    if (timer->view.len < LENGTH * 8 || (uintptr_t)timer->view.buf % 8) {
        PyErr_Format(PyExc_ValueError, "expected %d aligned words", (int)LENGTH);
        Py_DECREF(timer);
        return NULL;
    }
    return (PyObject *)timer;
}

static void
timer_dealloc(CollectionTimer *timer)
{
    PyBuffer_Release(&timer->view);
    Py_XDECREF(timer->clock);
    Py_XDECREF(timer->generation);
    Py_TYPE(timer)->tp_free((PyObject *)timer);
}

PyTypeObject CollectionTimer_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "holter._hot.CollectionTimer",
    .tp_basicsize = sizeof(CollectionTimer),
    .tp_dealloc = (destructor)timer_dealloc,
    .tp_vectorcall_offset = offsetof(CollectionTimer, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_new = timer_new,
    .tp_doc = "What the garbage collector is to call, so that each collection is timed.",
};
