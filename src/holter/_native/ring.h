/*
 * The ring and its commit protocol, in C11 atomics and without Python: what record.py lays out, written as _ring.py
 * specifies. One thread writes; readers, in this process or another, may look at any moment, and a writer may be
 * killed between any two stores.
 */
#ifndef HOLTER_RING_H
#define HOLTER_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && sizeof(_Atomic uint64_t) == 8, "8-byte words must be stored whole");

typedef _Atomic uint64_t ring_word;

enum {
    HEAD_WORD = 2,
    CAPACITY_WORD = 10,
    HEADER_WORDS = 16,
    SLOTS = 256,
    SLOT_WORDS = 4,
    RECORD_WORDS = 4,
    CELL_WORDS = 4,
    CELLS_PER_BLOCK = 64,
    FIRST_SLOT_WORD = HEADER_WORDS,
    SPARE_SLOT = SLOTS,
    FIRST_RECORD_WORD = FIRST_SLOT_WORD + (SLOTS + 1) * SLOT_WORDS,
};

enum { OUTCOME_OK = 0, OUTCOME_ERROR = 1 };
enum { STATE_BUSY = 1, STATE_COMMITTED = 2 };

/* Before and after each store, where a test kills the writer; nothing in what is shipped. */
#ifndef RING_STEP
#define RING_STEP() ((void)0)
#endif

typedef struct {
    ring_word *words;
    uint64_t mask;
    uint64_t sequence;
    _Atomic uint32_t free_slot; /* where to look first for one that is free */
    _Atomic bool is_full;       /* whether a search found none, and none was freed since */
} ring_core;

static inline uint64_t
ring_load(ring_word *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void
ring_store(ring_word *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_relaxed);
}

static inline double
ring_load_double(ring_word *word)
{
    uint64_t bits = ring_load(word);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline void
ring_store_double(ring_word *word, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    ring_store(word, bits);
}

static inline void
ring_begin(ring_core *ring, ring_word *memory, uint64_t capacity)
{
    ring->words = memory;
    ring->mask = capacity - 1;
    ring->sequence = 0;
    atomic_init(&ring->free_slot, 0);
    atomic_init(&ring->is_full, false);
    ring_store(memory + CAPACITY_WORD, capacity);
}

/* One record: busy, then the payload, then committed, so that whoever reads what is committed reads it whole. */
static inline void
ring_record(ring_core *ring, uint32_t series, int64_t time_ns, double value, uint32_t units, unsigned outcome)
{
    uint64_t sequence = ++ring->sequence;
    ring_word *record = ring->words + FIRST_RECORD_WORD + ((sequence - 1) & ring->mask) * RECORD_WORDS;
    RING_STEP();
    ring_store(record, sequence << 8 | STATE_BUSY);
    atomic_thread_fence(memory_order_release);
    RING_STEP();
    ring_store(record + 1, (uint64_t)time_ns);
    RING_STEP();
    ring_store_double(record + 2, value);
    RING_STEP();
    ring_store(record + 3, (uint64_t)units << 32 | series);
    RING_STEP();
    atomic_store_explicit(record, sequence << 8 | outcome << 2 | STATE_COMMITTED, memory_order_release);
    RING_STEP();
    atomic_store_explicit(ring->words + HEAD_WORD, sequence, memory_order_release);
    RING_STEP();
}

/* Copies a record; whether it stayed what it was meanwhile, which a second look tells, and so is whole if committed. */
static inline bool
ring_copy(ring_word *record, uint64_t *copy)
{
    copy[0] = atomic_load_explicit(record, memory_order_acquire);
    for (int word = 1; word < RECORD_WORDS; word++) {
        copy[word] = ring_load(record + word);
    }
    atomic_thread_fence(memory_order_acquire);
    return ring_load(record) == copy[0];
}

static inline void
cell_add(ring_word *cell, double value, uint64_t units)
{
    ring_store(cell, ring_load(cell) + 1);
    RING_STEP();
    ring_store_double(cell + 1, ring_load_double(cell + 1) + value);
    RING_STEP();
    if (units) {
        ring_store(cell + 2, ring_load(cell + 2) + units);
    }
}

/* A first value that is not a number is replaced as an extreme, a later one does not replace. */
static inline void
cell_set(ring_word *cell, double value)
{
    uint64_t count = ring_load(cell);
    if (count == 0) {
        ring_store_double(cell + 2, value);
        ring_store_double(cell + 3, value);
    } else if (value == value) {
        if (!(ring_load_double(cell + 2) <= value)) {
            ring_store_double(cell + 2, value);
        }
        if (!(ring_load_double(cell + 3) >= value)) {
            ring_store_double(cell + 3, value);
        }
    }
    ring_store(cell, count + 1);
    ring_store_double(cell + 1, value);
}

static inline ring_word *
ring_slot(ring_core *ring, uint32_t slot)
{
    return ring->words + FIRST_SLOT_WORD + slot * SLOT_WORDS;
}

static inline uint32_t
ring_search_slot(ring_core *ring, uint32_t from)
{
    for (uint32_t tried = 0; tried < SLOTS; tried++) {
        uint32_t slot = (from + tried) & (SLOTS - 1);
        if (ring_load(ring_slot(ring, slot)) == 0) {
            return slot;
        }
    }
    atomic_store_explicit(&ring->is_full, true, memory_order_relaxed);
    return SPARE_SLOT;
}

/* Lists an open call; returns its slot, the spare one where all are taken. */
static inline uint32_t
ring_take_slot(ring_core *ring, uint32_t series, int64_t start_ns)
{
    uint32_t slot = atomic_load_explicit(&ring->free_slot, memory_order_relaxed);
    if (ring_load(ring_slot(ring, slot)) != 0) {
        slot = atomic_load_explicit(&ring->is_full, memory_order_relaxed) ? SPARE_SLOT : ring_search_slot(ring, slot);
    }
    ring_word *words = ring_slot(ring, slot);
    RING_STEP();
    ring_store(words + 1, series);
    RING_STEP();
    ring_store(words + 2, 0);
    RING_STEP();
    ring_store(words + 3, 0);
    RING_STEP();
    atomic_store_explicit(words, (uint64_t)start_ns, memory_order_release);
    RING_STEP();
    return slot;
}

/* Says which task runs the call that a slot lists. */
static inline void
ring_tell_task(ring_core *ring, uint32_t slot, uint64_t task)
{
    ring_store(ring_slot(ring, slot) + 2, task);
    RING_STEP();
}

/* Says since when the next item of the stream that a slot lists is asked for, -1 while it is not; any thread may. */
static inline void
ring_tell_asked(ring_core *ring, uint32_t slot, int64_t asked_ns)
{
    ring_store(ring_slot(ring, slot) + 3, (uint64_t)asked_ns);
    RING_STEP();
}

/* Any thread may. */
static inline void
ring_free_slot(ring_core *ring, uint32_t slot)
{
    atomic_store_explicit(ring_slot(ring, slot), 0, memory_order_release);
    RING_STEP();
    if (slot != SPARE_SLOT) {
        atomic_store_explicit(&ring->free_slot, slot, memory_order_relaxed);
        atomic_store_explicit(&ring->is_full, false, memory_order_relaxed);
    }
}

static inline bool
ring_is_live(ring_core *ring)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        if (ring_load(ring_slot(ring, slot)) != 0) {
            return true;
        }
    }
    return false;
}

#endif
