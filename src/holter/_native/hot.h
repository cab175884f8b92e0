/* What the parts of the extension share: the ring as a Python object, open calls, the clock, the ring of a thread. */
#ifndef HOLTER_HOT_H
#define HOLTER_HOT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <time.h>

#include "ring.h"

#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* Objects that come and go with each call are kept for the next, where a lock guards them and nobody checks memory. */
#if !defined(Py_GIL_DISABLED) && !defined(__SANITIZE_ADDRESS__)
#define KEEPS_FREE_OBJECTS
#endif

#ifndef Py_BEGIN_CRITICAL_SECTION
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

/* Series of spans by name and call, so that a span need not ask Python again. */
enum { SPAN_CACHE = 64 };

typedef struct {
    PyObject *spans;
    PyObject *name;
    uint64_t around;
    uint32_t series;
} SpanEntry;

typedef struct {
    PyObject_HEAD
    ring_core core;
    _Atomic uint64_t stamp; /* counts, in the high half, how often no thread was to write here without asking again */
    uint64_t process;       /* the process that made it */
    ring_word **blocks;
    uint32_t block_count;
    Py_buffer memory_view;
    PyObject *memory;
    PyObject *words;
    PyObject *cells;
    PyObject *places;
    PyObject *allocate;
    PyObject *current; /* the innermost open call of its thread, alone in a list */
    PyObject *weakrefs;
    SpanEntry *spans;
} Ring;

/* An open call: [start_ns (0 once it has ended), series of its leaf, slot, its ring, the call that it interrupts]. */
typedef struct {
    PyObject_HEAD
    _Atomic int64_t start_ns;
    _Atomic uint32_t leaf; /* any thread of its context may tag it */
    uint32_t root;
    uint32_t slot;
    Ring *home;
    PyObject *outer;   /* a Call, None, or NULL */
    PyObject *pending; /* of a call that has not begun, the coroutine that it will run; else NULL */
} Call;

/* What a context holds in the place of a call, so that another call may take its place there: see context.c. */
typedef struct {
    PyObject_HEAD
    PyObject *variable;
    PyObject *call; /* a Call, None, or NULL */
} Standing;

extern PyTypeObject Ring_Type, Call_Type, Standing_Type, TimedCall_Type, CoroutineProbe_Type, Spans_Type, Span_Type, Counter_Type,
    Gauge_Type, Histogram_Type, StreamProbe_Type, StreamStep_Type, CollectionTimer_Type;

/* Gives spans their methods; before their type is used. */
int spans_prepare(void);

/* The fields of two tuples, of so many each. */
bool fields_get(PyObject *const *arguments, Py_ssize_t given, int first, int second, PyObject **fields);
/* Views of the arguments from the first on, of items so large; those from `writable` on are written to. */
bool buffers_get(PyObject *const *arguments, Py_buffer *views, const Py_ssize_t *sizes, int count, int writable);
void buffers_release(Py_buffer *views, int count);

PyObject *fold_copy(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *fold_survey(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *fold_count(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *surprise_step(PyObject *module, PyObject *const *arguments, Py_ssize_t given);
PyObject *ranks_merge(PyObject *module, PyObject *const *arguments, Py_ssize_t given);

/* Wiped to 0 in a forked child, however it was forked; else a number of 32 bits that rises with each fork. */
extern ring_word *process_word;

/* The ring that a thread was given, which it writes to without asking while stamp and process are what they were. */
typedef struct {
    PyObject *lookup;
    Ring *ring;
    uint64_t ticket;
} ThreadRing;

extern _Thread_local ThreadRing thread_ring;

/* Whether the calling thread is holter's own. */
extern _Thread_local bool thread_is_own;

static inline uint64_t
ring_ticket(Ring *ring)
{
    return atomic_load_explicit(&ring->stamp, memory_order_relaxed) | ring_load(process_word);
}

Ring *ring_find(PyObject *lookup);

/* The calling thread's ring of the recorder whose `lookup` this is, borrowed; NULL with an error set. */
static inline Ring *
ring_of(PyObject *lookup)
{
    if (LIKELY(thread_ring.lookup == lookup && thread_ring.ticket == ring_ticket(thread_ring.ring))) {
        return thread_ring.ring;
    }
    return ring_find(lookup);
}

int64_t clock_ask(PyObject *clock);

/* Nanoseconds of the monotonic clock, or of the one that a test brings. */
static inline int64_t
clock_now(PyObject *clock)
{
    if (LIKELY(clock == NULL)) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }
    return clock_ask(clock);
}

/* Whether the ring is this process's own: what a forked child inherits, it leaves alone. */
static inline bool
ring_is_mine(Ring *ring)
{
    return LIKELY(ring->process == ring_load(process_word));
}

ring_word *ring_block(Ring *ring, uint32_t block);

/* The cell of a series, made at first use; NULL with an error set. */
static inline ring_word *
ring_cell(Ring *ring, uint32_t series)
{
    uint32_t block = series / CELLS_PER_BLOCK;
    ring_word *cells =
        LIKELY(block < ring->block_count && ring->blocks[block]) ? ring->blocks[block] : ring_block(ring, block);
    return UNLIKELY(cells == NULL) ? NULL : cells + series % CELLS_PER_BLOCK * CELL_WORDS;
}

/* These return -1 with an error set where there is no memory for a cell. */
static inline int
ring_write(Ring *ring, uint32_t series, int64_t time_ns, double value, uint32_t units, unsigned outcome, uint32_t id)
{
    ring_word *cell = ring_cell(ring, series);
    if (UNLIKELY(cell == NULL)) {
        return -1;
    }
    cell_add(cell, value, units);
    ring_record(&ring->core, series, time_ns, value, units | id, outcome);
    return 0;
}

static inline int
ring_put(Ring *ring, uint32_t series, int64_t time_ns, double value)
{
    ring_word *cell = ring_cell(ring, series);
    if (UNLIKELY(cell == NULL)) {
        return -1;
    }
    cell_set(cell, value);
    ring_record(&ring->core, series, time_ns, value, 0, OUTCOME_OK);
    return 0;
}

static inline int64_t
call_start(Call *call)
{
    return atomic_load_explicit(&call->start_ns, memory_order_relaxed);
}

static inline uint32_t
call_leaf(Call *call)
{
    return atomic_load_explicit(&call->leaf, memory_order_relaxed);
}

/* A call that has yet to begin, by call_begin: it runs `pending`, which is closed if it never does. */
Call *call_make(PyObject *pending);
int call_begin(Call *call, Ring *ring, uint32_t series, int64_t start_ns);
Call *call_open(Ring *ring, uint32_t series, int64_t start_ns);
Call *call_enter(Ring *ring, uint32_t series, int64_t start_ns);
int call_leave(Call *call, int64_t end_ns, uint32_t units);
void call_release(Call *call);
/* Says since when the next item of a stream is asked for, -1 while it is not. */
void call_asked(Call *call, int64_t asked_ns);
/* Ends a call that nobody could record as what it is: it is counted, so that nothing seems to run for ever. */
void call_abandon(Call *call, PyObject *lookup, PyObject *clock);
void call_step_out(Ring *ring, Call *call);

/* The innermost open call around the running code, a new reference, or NULL; `context` is the context variable. */
Call *call_innermost(Ring *ring, PyObject *context);
/* The first that is open of a call, a reference which it takes, and those around it; a new reference, or NULL. */
Call *first_open(PyObject *call);
/* The innermost open call that the context variable knows of, a new reference, or NULL. */
Call *call_in_context(PyObject *context);
/* From here on, code in this context and in those copied from it is part of the call, which is new. */
void context_enter(PyObject *context, Call *call);
/* The call is over: where it stands in this context, the one around it stands there again. */
void context_leave(PyObject *context, Call *call);
/* Lets go of the calls around one that has ended which have ended too: else each would keep the one before it. */
void call_shorten(Call *call);

/* Takes the error that is set, with its traceback; give_error sets it again. */
PyObject *take_error(void);
void give_error(PyObject *error);

/* Asks Python how many units `result` is; -1 with an error set. */
int64_t ask_units(PyObject *units_of, PyObject *result);

/* What a call compares its duration with, and what notes it; the words are {the longest that is not slow, how many went
   through, whether samples of what goes in and out are wanted}. */
typedef struct {
    ring_word *words;
    Py_buffer view;
    PyObject *note; /* note(call, end_ns) */
} Gate;

int gate_open(Gate *gate, PyObject *words, PyObject *note);
void gate_close(Gate *gate);
/* Lets Python note a slow call, which is still open; -1 with an error set where that was interrupted. */
int gate_note(Gate *gate, Call *call, int64_t end_ns);

static inline bool
gate_holds(Gate *gate, int64_t duration_ns)
{
    return LIKELY(duration_ns <= (int64_t)ring_load(gate->words));
}

static inline bool
gate_wants(Gate *gate)
{
    return UNLIKELY(ring_load(gate->words + 2) != 0);
}

/* None stands for nothing. */
static inline PyObject *
optional(PyObject *object)
{
    return object == Py_None ? NULL : Py_NewRef(object);
}

#endif
