/* The ring and its open calls as Python objects; `holter._ring` is the specification of each method. */
#include "hot.h"

_Thread_local ThreadRing thread_ring;
_Thread_local bool thread_is_own;

/* No process has the number 0. */
#define NO_TICKET 0

/* -- open calls */

#ifdef KEEPS_FREE_OBJECTS
enum { MOST_FREE_CALLS = 256 };
static Call *free_calls[MOST_FREE_CALLS];
static int free_call_count;
#endif

/* The garbage collector is told of those alone that hold what the user made: else a call would cost a tenth more. */
static Call *
call_new(void)
{
    Call *call;
#ifdef KEEPS_FREE_OBJECTS
    if (LIKELY(free_call_count > 0)) {
        call = free_calls[--free_call_count];
        (void)PyObject_INIT((PyObject *)call, &Call_Type);
    } else
#endif
    {
        call = PyObject_GC_New(Call, &Call_Type);
        if (call == NULL) {
            return NULL;
        }
    }
    call->home = NULL;
    call->outer = call->pending = NULL;
    return call;
}

/* A coroutine that was never awaited has been warned of by the one around it, and warns no more. */
static void
close_pending(PyObject *pending)
{
    PyObject *error = PyErr_Occurred() ? take_error() : NULL;
    PyObject *closed = PyObject_CallMethod(pending, "close", NULL);
    if (closed == NULL) {
        PyErr_WriteUnraisable(pending);
    }
    Py_XDECREF(closed);
    Py_DECREF(pending);
    if (error != NULL) {
        give_error(error);
    }
}

static int
call_traverse(Call *call, visitproc visit, void *arg)
{
    Py_VISIT(call->home);
    Py_VISIT(call->outer);
    Py_VISIT(call->pending);
    return 0;
}

static int
call_clear(Call *call)
{
    Py_CLEAR(call->pending);
    return 0;
}

static void
call_dealloc(Call *call)
{
    PyObject *outer = call->outer, *pending = call->pending;
    PyObject_GC_UnTrack(call);
    Py_CLEAR(call->home);
#ifdef KEEPS_FREE_OBJECTS
    if (LIKELY(free_call_count < MOST_FREE_CALLS)) {
        free_calls[free_call_count++] = call;
    } else
#endif
    {
        PyObject_GC_Del(call);
    }
    if (UNLIKELY(pending != NULL)) {
        close_pending(pending);
    }
    /* At the end, so that a compiler makes it a jump: calls around calls may be many, and the stack is not. */
    Py_XDECREF(outer);
}

Call *
call_make(PyObject *pending)
{
    Call *call = call_new();
    if (LIKELY(call != NULL)) {
        atomic_store_explicit(&call->start_ns, 0, memory_order_relaxed);
        atomic_store_explicit(&call->leaf, 0, memory_order_relaxed);
        call->root = call->slot = 0;
        call->pending = Py_NewRef(pending);
        PyObject_GC_Track(call);
    }
    return call;
}

static inline void
call_fill(Call *call, Ring *ring, ring_word *cell, uint32_t series, int64_t start_ns)
{
    atomic_store_explicit(&call->start_ns, start_ns, memory_order_relaxed);
    atomic_store_explicit(&call->leaf, series, memory_order_relaxed);
    call->root = series;
    call->home = (Ring *)Py_NewRef(ring);
    ring_store(cell + 3, ring_load(cell + 3) + 1);
    call->slot = ring_take_slot(&ring->core, series, start_ns);
}

int
call_begin(Call *call, Ring *ring, uint32_t series, int64_t start_ns)
{
    ring_word *cell = ring_cell(ring, series);
    if (UNLIKELY(cell == NULL)) {
        return -1;
    }
    call_fill(call, ring, cell, series, start_ns);
    PyObject_GC_UnTrack(call);
    return 0;
}

Call *
call_open(Ring *ring, uint32_t series, int64_t start_ns)
{
    ring_word *cell = ring_cell(ring, series);
    Call *call = UNLIKELY(cell == NULL) ? NULL : call_new();
    if (LIKELY(call != NULL)) {
        call_fill(call, ring, cell, series, start_ns);
    }
    return call;
}

Call *
call_enter(Ring *ring, uint32_t series, int64_t start_ns)
{
    Call *call = call_open(ring, series, start_ns);
    if (LIKELY(call != NULL)) {
        call->outer = PyList_GET_ITEM(ring->current, 0);
        PyList_SET_ITEM(ring->current, 0, Py_NewRef(call));
    }
    return call;
}

void
call_release(Call *call)
{
    atomic_store_explicit(&call->start_ns, 0, memory_order_relaxed);
    if (ring_is_mine(call->home)) {
        ring_free_slot(&call->home->core, call->slot);
    }
}

void
call_asked(Call *call, int64_t asked_ns)
{
    /* Of one that has ended the slot is another's. */
    if (call_start(call) != 0 && ring_is_mine(call->home)) {
        ring_tell_asked(&call->home->core, call->slot, asked_ns);
    }
}

void
call_abandon(Call *call, PyObject *lookup, PyObject *clock)
{
    if (call_start(call) == 0) {
        return;
    }
    PyObject *error = PyErr_Occurred() ? take_error() : NULL;
    Ring *ring = ring_is_mine(call->home) ? ring_of(lookup) : NULL;
    if (ring != NULL) {
        int64_t end_ns = clock_now(clock);
        ring_write(ring, call_leaf(call), end_ns, (double)(end_ns - call_start(call)), 0, OUTCOME_OK, 0);
    }
    call_release(call);
    PyErr_Clear();
    if (error != NULL) {
        give_error(error);
    }
}

/* The call that was interrupted is the innermost again. */
void
call_step_out(Ring *ring, Call *call)
{
    PyObject *before = PyList_GET_ITEM(ring->current, 0);
    PyList_SET_ITEM(ring->current, 0, call->outer == NULL ? Py_NewRef(Py_None) : call->outer);
    call->outer = NULL;
    Py_DECREF(before);
}

int
call_leave(Call *call, int64_t end_ns, uint32_t units)
{
    Ring *ring = call->home;
    int written = 0;
    if (ring_is_mine(ring)) {
        int64_t duration_ns = end_ns - call_start(call);
        written = ring_write(ring, call_leaf(call), end_ns, (double)duration_ns, units, OUTCOME_OK, 0);
    }
    call_release(call);
    call_step_out(ring, call);
    return written;
}

static PyObject *
call_outer(Call *call)
{
    PyObject *outer;
    Py_BEGIN_CRITICAL_SECTION(call);
    outer = Py_XNewRef(call->outer);
    Py_END_CRITICAL_SECTION();
    return outer;
}

static void
call_set_outer(Call *call, PyObject *outer)
{
    PyObject *before;
    Py_BEGIN_CRITICAL_SECTION(call);
    before = call->outer;
    call->outer = outer;
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(before);
}

Call *
first_open(PyObject *call)
{
    while (call != NULL && Py_IS_TYPE(call, &Call_Type)) {
        if (LIKELY(call_start((Call *)call) != 0)) {
            return (Call *)call;
        }
        PyObject *outer = call_outer((Call *)call);
        Py_DECREF(call);
        call = outer;
    }
    Py_XDECREF(call);
    return NULL;
}

void
call_shorten(Call *call)
{
    PyObject *outer = call_outer(call);
    if (outer == NULL) {
        return;
    }
    PyObject *open = (PyObject *)first_open(Py_NewRef(outer));
    if (open == outer) {
        Py_DECREF(open);
    } else {
        call_set_outer(call, open);
    }
    Py_DECREF(outer);
}

Call *
call_innermost(Ring *ring, PyObject *context)
{
    PyObject *current = PyList_GET_ITEM(ring->current, 0);
    Call *on_thread = Py_IS_TYPE(current, &Call_Type) && call_start((Call *)current) ? (Call *)current : NULL;
    Call *in_context = call_in_context(context);
    if (on_thread == NULL || (in_context != NULL && call_start(in_context) > call_start(on_thread))) {
        return in_context;
    }
    Py_XDECREF(in_context);
    return (Call *)Py_NewRef(on_thread);
}

static Py_ssize_t
call_length(PyObject *self)
{
    (void)self;
    return 5;
}

static PyObject *
call_item(Call *call, Py_ssize_t index)
{
    switch (index) {
    case 0:
        return PyLong_FromLongLong(call_start(call));
    case 1:
        return PyLong_FromUnsignedLong(call_leaf(call));
    case 2:
        return PyLong_FromUnsignedLong(call->slot);
    case 3:
        return call->home == NULL ? Py_NewRef(Py_None) : Py_NewRef(call->home);
    case 4: {
        PyObject *outer = call_outer(call);
        return outer == NULL ? Py_NewRef(Py_None) : outer;
    }
    default:
        PyErr_SetString(PyExc_IndexError, "an open call has five items");
        return NULL;
    }
}

static int
call_set_item(Call *call, Py_ssize_t index, PyObject *value)
{
    if (index == 1 && value != NULL) {
        unsigned long leaf = PyLong_AsUnsignedLong(value);
        if (leaf == (unsigned long)-1 && PyErr_Occurred()) {
            return -1;
        }
        atomic_store_explicit(&call->leaf, (uint32_t)leaf, memory_order_relaxed);
        return 0;
    }
    if (index == 4 && value != NULL) {
        call_set_outer(call, Py_NewRef(value));
        return 0;
    }
    PyErr_SetString(PyExc_TypeError, "of an open call, only the series of its leaf and its outer call are set");
    return -1;
}

static PySequenceMethods call_as_sequence = {
    .sq_length = call_length,
    .sq_item = (ssizeargfunc)call_item,
    .sq_ass_item = (ssizeobjargproc)call_set_item,
};

PyTypeObject Call_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "holter._hot.Call",
    .tp_basicsize = sizeof(Call),
    .tp_dealloc = (destructor)call_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_traverse = (traverseproc)call_traverse,
    .tp_clear = (inquiry)call_clear,
    .tp_as_sequence = &call_as_sequence,
    .tp_doc = "An open call: start_ns (0 once it has ended), series of its leaf, slot, ring, the call it interrupts.",
};

/* -- rings */

#define MOST_RECORDS (INT64_C(1) << 32)

Ring *
ring_find(PyObject *lookup)
{
    PyObject *found = PyObject_CallNoArgs(lookup);
    if (found == NULL) {
        return NULL;
    }
    if (!Py_IS_TYPE(found, &Ring_Type)) {
        PyErr_Format(PyExc_TypeError, "expected a Ring, got %.100s", Py_TYPE(found)->tp_name);
        Py_DECREF(found);
        return NULL;
    }
    Ring *ring = (Ring *)found;
    uint64_t ticket = ring_ticket(ring);
    /* Asked again, because it may have been taken away before the ticket was: then this one is used once. */
    PyObject *again = PyObject_CallNoArgs(lookup);
    if (again == NULL) {
        Py_DECREF(found);
        return NULL;
    }
    Py_DECREF(again);
    PyObject *lookup_before = thread_ring.lookup;
    Ring *ring_before = thread_ring.ring;
    /* Held for good where the thread ends: rings are reused, never freed while their recorder lives. */
    thread_ring.lookup = Py_NewRef(lookup);
    thread_ring.ring = ring;
    thread_ring.ticket = again == found ? ticket : NO_TICKET;
    Py_XDECREF(lookup_before);
    Py_XDECREF(ring_before);
    return ring;
}

static PyObject *
cast(PyObject *view, const char *format)
{
    return view == NULL ? NULL : PyObject_CallMethod(view, "cast", "s", format);
}

enum { BLOCK_BYTES = CELLS_PER_BLOCK * CELL_WORDS * 8 };

/* Where the cells of a block lie; the recorder's, or memory of the ring's own. */
static PyObject *
new_block_memory(Ring *ring, uint32_t block)
{
    if (ring->allocate != Py_None) {
        PyObject *memory = PyObject_CallFunction(ring->allocate, "I", block);
        if (memory != Py_None) {
            return memory;
        }
        Py_DECREF(memory);
    }
    PyObject *memory = PyByteArray_FromStringAndSize(NULL, BLOCK_BYTES);
    if (memory != NULL) {
        memset(PyByteArray_AS_STRING(memory), 0, (size_t)PyByteArray_GET_SIZE(memory));
    }
    return memory;
}

static int
grow_blocks(Ring *ring, uint32_t block)
{
    if (block < ring->block_count) {
        return 0;
    }
    uint32_t count = block + 8;
    ring_word **blocks = PyMem_Realloc(ring->blocks, count * sizeof *blocks);
    if (blocks == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memset(blocks + ring->block_count, 0, (count - ring->block_count) * sizeof *blocks);
    ring->blocks = blocks;
    ring->block_count = count;
    return 0;
}

ring_word *
ring_block(Ring *ring, uint32_t block)
{
    PyObject *memory = new_block_memory(ring, block);
    PyObject *view = memory == NULL ? NULL : PyMemoryView_FromObject(memory);
    PyObject *integers = cast(view, "q"), *doubles = cast(view, "d"), *key = PyLong_FromUnsignedLong(block);
    PyObject *pair = integers && doubles ? PyTuple_Pack(2, integers, doubles) : NULL;
    ring_word *cells = NULL;
    if (pair != NULL && key != NULL && grow_blocks(ring, block) == 0) {
        /* What interrupted this may have made the same block: the first one stays. */
        PyObject *kept = PyDict_SetDefault(ring->cells, key, pair);
        Py_buffer *buffer = kept == NULL ? NULL : PyMemoryView_GET_BUFFER(PyTuple_GET_ITEM(kept, 0));
        if (buffer != NULL && (buffer->len < BLOCK_BYTES || (uintptr_t)buffer->buf % 8)) {
            PyErr_SetString(PyExc_ValueError, "expected aligned memory for the cells of 64 series");
        } else if (buffer != NULL) {
            cells = buffer->buf;
            ring->blocks[block] = cells;
        }
    }
    Py_XDECREF(memory);
    Py_XDECREF(view);
    Py_XDECREF(integers);
    Py_XDECREF(doubles);
    Py_XDECREF(key);
    Py_XDECREF(pair);
    return cells;
}

static PyObject *
own_memory(long capacity)
{
    PyObject *module = PyImport_ImportModule("holter._ring");
    PyObject *memory = module == NULL ? NULL : PyObject_CallMethod(module, "anonymous_memory", "l", capacity);
    Py_XDECREF(module);
    return memory;
}

static PyObject *
ring_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"capacity", "memory", "allocate", NULL};
    long capacity;
    PyObject *memory = Py_None, *allocate = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "l|OO", names, &capacity, &memory, &allocate)) {
        return NULL;
    }
    if (capacity <= 0 || (capacity & (capacity - 1)) || capacity > MOST_RECORDS) {
        PyErr_SetString(PyExc_ValueError, "expected a power of two as capacity, at most 2**32");
        return NULL;
    }
    Ring *ring = (Ring *)type->tp_alloc(type, 0);
    if (ring == NULL) {
        return NULL;
    }
    ring->process = ring_load(process_word);
    ring->memory = memory == Py_None ? own_memory(capacity) : Py_NewRef(memory);
    ring->allocate = Py_NewRef(allocate);
    ring->cells = PyDict_New();
    ring->places = PyDict_New();
    ring->current = PyList_New(1);
    ring->spans = PyMem_Calloc(SPAN_CACHE, sizeof *ring->spans);
    if (!ring->memory || !ring->cells || !ring->places || !ring->current || !ring->spans ||
        PyObject_GetBuffer(ring->memory, &ring->memory_view, PyBUF_WRITABLE) < 0) {
        Py_DECREF(ring);
        return NULL;
    }
    PyList_SET_ITEM(ring->current, 0, Py_NewRef(Py_None));
    if (ring->memory_view.len < (FIRST_RECORD_WORD + capacity * RECORD_WORDS) * 8 ||
        (uintptr_t)ring->memory_view.buf % 8) {
        PyErr_SetString(PyExc_ValueError, "expected aligned memory for as many records as the capacity says");
        Py_DECREF(ring);
        return NULL;
    }
    PyObject *view = PyMemoryView_FromObject(ring->memory);
    ring->words = cast(view, "Q");
    Py_XDECREF(view);
    if (ring->words == NULL) {
        Py_DECREF(ring);
        return NULL;
    }
    ring_begin(&ring->core, ring->memory_view.buf, (uint64_t)capacity);
    return (PyObject *)ring;
}

static int
ring_traverse(Ring *ring, visitproc visit, void *arg)
{
    Py_VISIT(ring->memory);
    Py_VISIT(ring->words);
    Py_VISIT(ring->cells);
    Py_VISIT(ring->places);
    Py_VISIT(ring->allocate);
    Py_VISIT(ring->current);
    for (int index = 0; ring->spans && index < SPAN_CACHE; index++) {
        Py_VISIT(ring->spans[index].spans);
        Py_VISIT(ring->spans[index].name);
    }
    return 0;
}

/* Its memory stays until the end: an open call that outlives the cycle may still end here. */
static int
ring_clear(Ring *ring)
{
    Py_CLEAR(ring->places);
    Py_CLEAR(ring->allocate);
    Py_CLEAR(ring->current);
    for (int index = 0; ring->spans && index < SPAN_CACHE; index++) {
        Py_CLEAR(ring->spans[index].spans);
        Py_CLEAR(ring->spans[index].name);
    }
    return 0;
}

static void
ring_dealloc(Ring *ring)
{
    PyObject_GC_UnTrack(ring);
    if (ring->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)ring);
    }
    ring_clear(ring);
    PyMem_Free(ring->spans);
    PyMem_Free(ring->blocks);
    Py_CLEAR(ring->cells);
    Py_CLEAR(ring->words);
    if (ring->memory_view.obj != NULL) {
        PyBuffer_Release(&ring->memory_view);
    }
    Py_CLEAR(ring->memory);
    Py_TYPE(ring)->tp_free(ring);
}

static PyObject *
open_by(Ring *ring, PyObject *const *args, Py_ssize_t count, Call *(*how)(Ring *, uint32_t, int64_t))
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "expected series and start_ns");
        return NULL;
    }
    unsigned long series = PyLong_AsUnsignedLong(args[0]);
    long long start_ns = PyLong_AsLongLong(args[1]);
    return PyErr_Occurred() ? NULL : (PyObject *)how(ring, (uint32_t)series, start_ns);
}

static PyObject *
ring_py_begin(Ring *ring, PyObject *const *args, Py_ssize_t count)
{
    return open_by(ring, args, count, call_open);
}

static PyObject *
ring_py_enter(Ring *ring, PyObject *const *args, Py_ssize_t count)
{
    return open_by(ring, args, count, call_enter);
}

static int
is_call(PyObject *object)
{
    if (Py_IS_TYPE(object, &Call_Type)) {
        return 1;
    }
    PyErr_Format(PyExc_TypeError, "expected an open call, got %.100s", Py_TYPE(object)->tp_name);
    return 0;
}

static PyObject *
ring_py_leave(Ring *ring, PyObject *const *args, Py_ssize_t count)
{
    (void)ring;
    if (count != 3 || !is_call(args[0])) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "expected call, end_ns and units");
    }
    long long end_ns = PyLong_AsLongLong(args[1]);
    unsigned long units = PyLong_AsUnsignedLong(args[2]);
    if (PyErr_Occurred() || call_leave((Call *)args[0], end_ns, (uint32_t)units) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
ring_py_release(Ring *ring, PyObject *call)
{
    (void)ring;
    if (!is_call(call)) {
        return NULL;
    }
    call_release((Call *)call);
    Py_RETURN_NONE;
}

static PyObject *
ring_py_asked(Ring *ring, PyObject *const *args, Py_ssize_t count)
{
    (void)ring;
    if (count != 2 || !is_call(args[0])) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "expected call and asked_ns");
    }
    long long asked_ns = PyLong_AsLongLong(args[1]);
    if (asked_ns == -1 && PyErr_Occurred()) {
        return NULL;
    }
    call_asked((Call *)args[0], asked_ns);
    Py_RETURN_NONE;
}

static PyObject *
ring_py_write(Ring *ring, PyObject *const *args, Py_ssize_t count)
{
    if (count != 5 && count != 6) {
        PyErr_SetString(PyExc_TypeError, "expected series, time_ns, value, units, outcome and perhaps call_id");
        return NULL;
    }
    unsigned long series = PyLong_AsUnsignedLong(args[0]), units = PyLong_AsUnsignedLong(args[3]);
    long long time_ns = PyLong_AsLongLong(args[1]);
    double value = PyFloat_AsDouble(args[2]);
    unsigned long outcome = PyLong_AsUnsignedLong(args[4]), id = count == 6 ? PyLong_AsUnsignedLong(args[5]) : 0;
    if (PyErr_Occurred()) {
        return NULL;
    }
    ring_word *cell = ring_cell(ring, (uint32_t)series);
    if (cell == NULL) {
        return NULL;
    }
    cell_add(cell, value, (uint32_t)units);
    ring_record(&ring->core, (uint32_t)series, time_ns, value, (uint32_t)(units | id), (unsigned)outcome);
    Py_RETURN_NONE;
}

static PyObject *
ring_py_put(Ring *ring, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "expected series, time_ns and value");
        return NULL;
    }
    unsigned long series = PyLong_AsUnsignedLong(args[0]);
    long long time_ns = PyLong_AsLongLong(args[1]);
    double value = PyFloat_AsDouble(args[2]);
    if (PyErr_Occurred() || ring_put(ring, (uint32_t)series, time_ns, value) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
ring_py_serve(Ring *ring, PyObject *current)
{
    if (!PyList_CheckExact(current) || PyList_GET_SIZE(current) != 1) {
        PyErr_SetString(PyExc_TypeError, "expected a list with the innermost open call");
        return NULL;
    }
    Py_SETREF(ring->current, Py_NewRef(current));
    Py_RETURN_NONE;
}

static PyObject *
ring_py_forget(Ring *ring, PyObject *unused)
{
    (void)unused;
    atomic_fetch_add_explicit(&ring->stamp, (uint64_t)1 << 32, memory_order_relaxed);
    Py_RETURN_NONE;
}

static PyObject *
ring_get_capacity(Ring *ring, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(ring->core.mask + 1);
}

static PyObject *
ring_get_live(Ring *ring, void *unused)
{
    (void)unused;
    return PyBool_FromLong(ring_is_live(&ring->core));
}

static PyMethodDef ring_methods[] = {
    {"begin", (PyCFunction)(void (*)(void))ring_py_begin, METH_FASTCALL, NULL},
    {"enter", (PyCFunction)(void (*)(void))ring_py_enter, METH_FASTCALL, NULL},
    {"leave", (PyCFunction)(void (*)(void))ring_py_leave, METH_FASTCALL, NULL},
    {"release", (PyCFunction)ring_py_release, METH_O, NULL},
    {"asked", (PyCFunction)(void (*)(void))ring_py_asked, METH_FASTCALL, NULL},
    {"write", (PyCFunction)(void (*)(void))ring_py_write, METH_FASTCALL, NULL},
    {"put", (PyCFunction)(void (*)(void))ring_py_put, METH_FASTCALL, NULL},
    {"serve", (PyCFunction)ring_py_serve, METH_O, NULL},
    {"forget", (PyCFunction)ring_py_forget, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef ring_members[] = {
    {"memory", T_OBJECT, offsetof(Ring, memory), READONLY, NULL},
    {"words", T_OBJECT, offsetof(Ring, words), READONLY, NULL},
    {"cells", T_OBJECT, offsetof(Ring, cells), READONLY, NULL},
    {"places", T_OBJECT, offsetof(Ring, places), READONLY, NULL},
    {"current", T_OBJECT, offsetof(Ring, current), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef ring_getset[] = {
    {"capacity", (getter)ring_get_capacity, NULL, NULL, NULL},
    {"live", (getter)ring_get_live, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject Ring_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "holter._hot.Ring",
    .tp_basicsize = sizeof(Ring),
    .tp_dealloc = (destructor)ring_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_traverse = (traverseproc)ring_traverse,
    .tp_clear = (inquiry)ring_clear,
    .tp_weaklistoffset = offsetof(Ring, weakrefs),
    .tp_methods = ring_methods,
    .tp_members = ring_members,
    .tp_getset = ring_getset,
    .tp_new = ring_new,
    .tp_doc = "The last records of one thread, with its cells and open-call slots; holter._ring.Ring specifies it.",
};
