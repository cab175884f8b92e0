/* The extension: the inner pieces of the hot path. What is decided is decided in Python. */
#include "hot.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

ring_word *process_word;
static uint64_t processes = 1;

/* Mappings that other processes see: in a forked child, private memory takes their place. */
enum { MOST_SHIELDED = 256 };
static struct {
    void *address;
    size_t length;
} shielded[MOST_SHIELDED];
static _Atomic int shielded_count;

static void
in_child(void)
{
    int count = atomic_exchange(&shielded_count, 0);
    for (int index = 0; index < count; index++) {
        mmap(shielded[index].address, shielded[index].length, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    }
}

static PyObject *
shield(PyObject *module, PyObject *memory)
{
    (void)module;
    Py_buffer view;
    if (PyObject_GetBuffer(memory, &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    long page = sysconf(_SC_PAGESIZE);
    int index = atomic_load(&shielded_count);
    bool fits = index < MOST_SHIELDED && (uintptr_t)view.buf % (uintptr_t)page == 0 && view.len % page == 0;
    if (fits) {
        shielded[index].address = view.buf;
        shielded[index].length = (size_t)view.len;
        atomic_store(&shielded_count, index + 1);
    }
    PyBuffer_Release(&view);
    return PyBool_FromLong(fits);
}

static PyObject *
acquire(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    atomic_thread_fence(memory_order_acquire);
    Py_RETURN_NONE;
}

static PyObject *
renew(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    ring_store(process_word, ++processes);
    Py_RETURN_NONE;
}

static PyObject *
own_thread(PyObject *module, PyObject *is_own)
{
    (void)module;
    thread_is_own = is_own == Py_True;
    Py_RETURN_NONE;
}

/* torch.compile reads Python only: by what it finds in the type it comes to the bare function. Calls take the slots,
   which stay as they are, since this is there before the type is made ready. */
static int
show_python(void)
{
    if (TimedCall_Type.tp_dict != NULL) {
        return 0;
    }
    PyObject *compiled = PyImport_ImportModule("holter.compiled");
    PyObject *call = compiled == NULL ? NULL : PyObject_GetAttrString(compiled, "call");
    PyObject *bind = call == NULL ? NULL : PyObject_GetAttrString(compiled, "bind");
    if (bind != NULL) {
        TimedCall_Type.tp_dict = Py_BuildValue("{sOsO}", "__call__", call, "__get__", bind);
    }
    Py_XDECREF(bind);
    Py_XDECREF(call);
    Py_XDECREF(compiled);
    return TimedCall_Type.tp_dict == NULL ? -1 : PyType_Ready(&TimedCall_Type);
}

static int
prepare(PyObject *module)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "holter does not support subinterpreters");
        return -1;
    }
    if (process_word == NULL) {
        size_t length = (size_t)sysconf(_SC_PAGESIZE);
        void *page = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED || madvise(page, length, MADV_WIPEONFORK) != 0 ||
            pthread_atfork(NULL, NULL, in_child) != 0) {
            PyErr_SetString(PyExc_ImportError, "this kernel has no memory that is wiped on fork");
            return -1;
        }
        process_word = page;
        ring_store(process_word, processes);
    }
    if (show_python() < 0 || spans_prepare() < 0) {
        return -1;
    }
    PyTypeObject *types[] = {&Ring_Type,  &Call_Type,    &Standing_Type, &TimedCall_Type, &CoroutineProbe_Type, &Spans_Type,
                             &Span_Type,  &Counter_Type, &Gauge_Type,    &Histogram_Type, &StreamProbe_Type,
                             &StreamStep_Type, &CollectionTimer_Type};
    for (size_t index = 0; index < sizeof types / sizeof *types; index++) {
        if (PyModule_AddType(module, types[index]) < 0) {
            return -1;
        }
    }
    return 0;
}

static PyMethodDef functions[] = {
    {"shield", shield, METH_O,
     "Let a forked child have private, empty memory in the place of this mapping; whether that can be done."},
    {"acquire", acquire, METH_NOARGS, "Let what this thread reads from now on be no older than what it has read."},
    {"renew", renew, METH_NOARGS, "Make this another process than its parent: rings are its own from now on."},
    {"own_thread", own_thread, METH_O, "Say whether the calling thread is holter's own."},
    {"copy", (PyCFunction)(void (*)(void))fold_copy, METH_FASTCALL,
     "Copy records out of a ring from a sequence on, for as long as they are whole; how many."},
    {"survey", (PyCFunction)(void (*)(void))fold_survey, METH_FASTCALL,
     "Take records into the rows of their series; how many were taken in so far, and how many rows are used."},
    {"count", (PyCFunction)(void (*)(void))fold_count, METH_FASTCALL,
     "Count values where a survey has placed them, up to the first outside of its window; how many are done."},
    {"step", (PyCFunction)(void (*)(void))surprise_step, METH_FASTCALL,
     "Let the walks of signals take a step; how many of their statistics are unusually high."},
    {"merge", (PyCFunction)(void (*)(void))ranks_merge, METH_FASTCALL,
     "Merge a block of values into the quantiles of those signals whose rows are given."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, prepare},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "holter._hot",
    .m_doc = "The ring, the timed call, the span and the stream step in C.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__hot(void)
{
    return PyModuleDef_Init(&definition);
}
