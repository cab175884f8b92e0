/*
 * The call that a context is part of. Setting a context variable makes a new table of variables, which costs a fifth of
 * what a watched coroutine does. So the variable holds a Standing, and the next call takes its place in the same one,
 * where nobody but the running context leads to it; else a new one is set.
 */
#include "hot.h"

#if !defined(Py_GIL_DISABLED) && PY_VERSION_HEX < 0x030E0000
#define SHARES_STANDING
#endif

#ifdef KEEPS_FREE_OBJECTS
enum { MOST_FREE_STANDINGS = 64 };
static Standing *free_standings[MOST_FREE_STANDINGS];
static int free_standing_count;
#endif

static void
standing_dealloc(Standing *standing)
{
    PyObject *call = standing->call;
    Py_DECREF(standing->variable);
#ifdef KEEPS_FREE_OBJECTS
    if (LIKELY(free_standing_count < MOST_FREE_STANDINGS)) {
        free_standings[free_standing_count++] = standing;
    } else
#endif
    {
        PyObject_Free(standing);
    }
    Py_XDECREF(call);
}

static PyMemberDef standing_members[] = {
    {"call", T_OBJECT, offsetof(Standing, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* The garbage collector need not know of it: a call that has begun leads to nothing that leads back here. */
PyTypeObject Standing_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "holter._hot.Standing",
    .tp_basicsize = sizeof(Standing),
    .tp_dealloc = (destructor)standing_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_members = standing_members,
    .tp_doc = "The call that a context is part of, where it may give way to the next one.",
};

#ifdef SHARES_STANDING

static Standing *
standing_new(PyObject *variable, PyObject *call)
{
    Standing *standing;
#ifdef KEEPS_FREE_OBJECTS
    if (LIKELY(free_standing_count > 0)) {
        standing = free_standings[--free_standing_count];
        (void)PyObject_INIT((PyObject *)standing, &Standing_Type);
    } else
#endif
    {
        standing = PyObject_New(Standing, &Standing_Type);
        if (standing == NULL) {
            return NULL;
        }
    }
    standing->variable = Py_NewRef(variable);
    standing->call = Py_XNewRef(call);
    return standing;
}

typedef struct {
    PyObject *variable;
    PyTypeObject *node;
    Standing *standing;
    int values;
} Search;

static int
visit_context(PyObject *object, void *found)
{
    /* The other thing that a context refers to is the one that was entered before it. */
    if (PyContext_CheckExact(object)) {
        return 0;
    }
    *(PyObject **)found = object;
    return 1;
}

static int
visit_table(PyObject *object, void *found)
{
    *(PyObject **)found = object;
    return 1;
}

static int
visit_node(PyObject *object, void *argument)
{
    Search *search = argument;
    if (Py_IS_TYPE(object, &Standing_Type) && ((Standing *)object)->variable == search->variable) {
        search->standing = (Standing *)object;
        return 1;
    }
    if (Py_IS_TYPE(object, &PyContextVar_Type)) {
        search->values = 0;
        return 0;
    }
    if (UNLIKELY(Py_IS_TYPE(object, search->node) && Py_REFCNT(object) == 1)) {
        return search->node->tp_traverse(object, visit_node, search);
    }
    /* Where no variable stands beside what is visited, this is a node of many others: that would take long. */
    return ++search->values > 3;
}

/*
 * What stands in the running context, borrowed, if nothing but that leads to it; else NULL.
 *
 * A container shows the garbage collector each reference that it owns. From the context over its table of variables to
 * the Standing, each object has a single reference, which is the one by which it was reached: so whoever does not hold
 * the context itself cannot come to it. A copy of the context refers to the same table, a table derived from it to the
 * same Standing, and whoever has read the variable to that too.
 */
static inline Standing *
standing_alone(PyObject *variable)
{
    PyObject *running = PyThreadState_Get()->context, *table = NULL, *node = NULL;
    if (UNLIKELY(running == NULL)) {
        return NULL;
    }
    Py_TYPE(running)->tp_traverse(running, visit_context, &table);
    if (UNLIKELY(table == NULL || Py_REFCNT(table) != 1)) {
        return NULL;
    }
    Py_TYPE(table)->tp_traverse(table, visit_table, &node);
    if (UNLIKELY(node == NULL || Py_REFCNT(node) != 1)) {
        return NULL;
    }
    Search search = {variable, Py_TYPE(node), NULL, 0};
    search.node->tp_traverse(node, visit_node, &search);
    return search.standing != NULL && Py_REFCNT(search.standing) == 1 ? search.standing : NULL;
}

#endif

static void
context_set(PyObject *context, PyObject *call)
{
#ifdef SHARES_STANDING
    PyObject *held = (PyObject *)standing_new(context, call);
#else
    PyObject *held = Py_NewRef(call == NULL ? Py_None : call);
#endif
    PyObject *token = held == NULL ? NULL : PyContextVar_Set(context, held);
    if (UNLIKELY(token == NULL)) {
        PyErr_Clear();
    }
    Py_XDECREF(held);
    Py_XDECREF(token);
}

/* What stands in the context, open or not; a new reference, or NULL. */
static PyObject *
context_get(PyObject *context)
{
    PyObject *set = NULL;
    if (PyContextVar_Get(context, Py_None, &set) < 0) {
        PyErr_Clear();
        return NULL;
    }
    if (LIKELY(Py_IS_TYPE(set, &Standing_Type))) {
        Py_SETREF(set, Py_XNewRef(((Standing *)set)->call));
    }
    return set;
}

Call *
call_in_context(PyObject *context)
{
    return first_open(context_get(context));
}

static void
context_tell(Call *call)
{
    /* A task has a context of its own, which lives as long as it does. Its address says nothing by itself. */
    uint64_t task = (uint64_t)(uintptr_t)PyThreadState_Get()->context;
    ring_tell_task(&call->home->core, call->slot, task >> 4);
}

static void
context_put(PyObject *context, Call *call)
{
#ifdef SHARES_STANDING
    Standing *standing = standing_alone(context);
    if (LIKELY(standing != NULL)) {
        PyObject *before = standing->call;
        standing->call = Py_NewRef(call);
        /* Last, since what goes with it may run other code. */
        call->outer = (PyObject *)first_open(before);
        return;
    }
#endif
    call->outer = (PyObject *)call_in_context(context);
    context_set(context, (PyObject *)call);
}

void
context_enter(PyObject *context, Call *call)
{
    context_put(context, call);
    context_tell(call);
}

void
context_leave(PyObject *context, Call *call)
{
    PyObject *stands = context_get(context);
    Py_XDECREF(stands);
    if (stands != (PyObject *)call) {
        return;
    }
    PyObject *outer = call->outer;
#ifdef SHARES_STANDING
    Standing *standing = standing_alone(context);
    if (LIKELY(standing != NULL)) {
        standing->call = Py_XNewRef(outer);
        Py_DECREF(call);
        return;
    }
#endif
    context_set(context, outer);
}
