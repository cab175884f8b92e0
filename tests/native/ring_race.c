/*
 * Races the ring of ring.h against readers and against SIGKILL, without Python.
 *
 *     ring_race live RECORDS [FAULT [READER]]   a thread writes, another one reads all the while
 *     ring_race kill TIMES [FAULT]              a process writes until it is killed, at any moment, so many times;
 *                                               compiled with -DSTEPS, the n-th time at the n-th step of its life
 *
 * Prints one line of figures. FAULT: 0 none, 1 no busy mark, 2 commit before payload. READER: 0 looks at the commit a
 * second time, 1 does not, 2 reads without atomics.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef STEPS
static void step_reached(void);
#define RING_STEP() step_reached()
#endif
#include "ring.h"

enum { CAPACITY = 8, SERIES = 3, WORDS = FIRST_RECORD_WORD + CAPACITY * RECORD_WORDS };
enum { NO_FAULT, NO_BUSY_MARK, COMMIT_FIRST };
enum { SECOND_LOOK, ONE_LOOK, NO_ATOMICS };

typedef struct {
    ring_word words[WORDS];
    ring_word cell[CELL_WORDS];
    ring_word running;      /* start of the call that is surely listed, or 0 */
    ring_word acknowledged; /* how many records were written before this was */
    ring_word is_over;
} Memory;

static Memory *memory;
static ring_core ring;
static unsigned fault, reader;
static uint64_t live_records, accepted, torn, missing, miscounted, misnamed;

#ifdef STEPS
static uint64_t steps, deadly_step;

static void
step_reached(void)
{
    if (++steps == deadly_step) {
        kill(getpid(), SIGKILL);
    }
}
#endif

static int64_t
time_of(uint64_t number)
{
    return (int64_t)(number * 3);
}

static uint64_t
series_and_units_of(uint64_t number)
{
    return (number & UINT32_MAX) << 32 | SERIES;
}

/* What ring_record must not be. */
static void
faulty_record(uint64_t number)
{
    uint64_t sequence = ++ring.sequence;
    ring_word *record = ring.words + FIRST_RECORD_WORD + ((sequence - 1) & ring.mask) * RECORD_WORDS;
    if (fault == COMMIT_FIRST) {
        atomic_store_explicit(record, sequence << 8 | STATE_COMMITTED, memory_order_release);
    }
    RING_STEP();
    ring_store(record + 1, (uint64_t)time_of(number));
    RING_STEP();
    ring_store_double(record + 2, (double)number);
    RING_STEP();
    ring_store(record + 3, series_and_units_of(number));
    RING_STEP();
    if (fault == NO_BUSY_MARK) {
        atomic_store_explicit(record, sequence << 8 | STATE_COMMITTED, memory_order_release);
    }
    RING_STEP();
    atomic_store_explicit(ring.words + HEAD_WORD, sequence, memory_order_release);
}

/* A call as the extension records it: its value is its number, its units are the low half of that. */
static void
call_once(uint64_t number)
{
    uint32_t slot = ring_take_slot(&ring, SERIES, time_of(number));
    atomic_store_explicit(&memory->running, (uint64_t)time_of(number), memory_order_release);
    cell_add(memory->cell, (double)number, number & UINT32_MAX);
    if (fault == NO_FAULT) {
        ring_record(&ring, SERIES, time_of(number), (double)number, number & UINT32_MAX, OUTCOME_OK);
    } else {
        faulty_record(number);
    }
    atomic_store_explicit(&memory->acknowledged, number, memory_order_release);
    atomic_store_explicit(&memory->running, 0, memory_order_release);
    ring_free_slot(&ring, slot);
}

static bool
is_whole(uint64_t sequence, const uint64_t *payload)
{
    double value;
    memcpy(&value, payload + 1, sizeof value);
    return payload[0] == (uint64_t)time_of(sequence) && value == (double)sequence &&
           payload[2] == series_and_units_of(sequence);
}

/* The sequence of the record that lies at *index* whole, as its reader thinks; else 0. */
static uint64_t
read_record(uint64_t index, uint64_t *payload)
{
    ring_word *record = memory->words + FIRST_RECORD_WORD + index * RECORD_WORDS;
    if (reader == SECOND_LOOK) {
        uint64_t copy[RECORD_WORDS];
        bool is_whole = ring_copy(record, copy) && (copy[0] & 3) == STATE_COMMITTED &&
                        (((copy[0] >> 8) - 1) & (CAPACITY - 1)) == index;
        memcpy(payload, copy + 1, 3 * sizeof *payload);
        return is_whole ? copy[0] >> 8 : 0;
    }
    uint64_t commit = atomic_load_explicit(record, memory_order_acquire);
    if ((commit & 3) != STATE_COMMITTED || (((commit >> 8) - 1) & (CAPACITY - 1)) != index) {
        return 0;
    }
    for (int word = 0; word < 3; word++) {
        payload[word] = reader == NO_ATOMICS ? *(volatile uint64_t *)(record + 1 + word) : ring_load(record + 1 + word);
    }
    atomic_thread_fence(memory_order_acquire);
    return reader == ONE_LOOK || ring_load(record) == commit ? commit >> 8 : 0;
}

static void
look_at_all(void)
{
    uint64_t payload[3];
    for (uint64_t index = 0; index < CAPACITY; index++) {
        uint64_t sequence = read_record(index, payload);
        accepted += sequence != 0;
        torn += sequence != 0 && !is_whole(sequence, payload);
    }
}

static void *
write_all(void *unused)
{
    for (uint64_t number = 1; number <= live_records; number++) {
        call_once(number);
    }
    atomic_store_explicit(&memory->is_over, 1, memory_order_release);
    return unused;
}

static void *
read_all(void *unused)
{
    while (!atomic_load_explicit(&memory->is_over, memory_order_acquire)) {
        look_at_all();
    }
    return unused;
}

static void
race(uint64_t records)
{
    live_records = records;
    pthread_t writer, looker;
    pthread_create(&looker, NULL, read_all, NULL);
    pthread_create(&writer, NULL, write_all, NULL);
    pthread_join(writer, NULL);
    pthread_join(looker, NULL);
}

/* What is found of a writer that was killed, against what it had acknowledged by then. */
static void
examine(void)
{
    uint64_t payload[3], acknowledged = ring_load(&memory->acknowledged), running = ring_load(&memory->running);
    look_at_all();
    /* The oldest record of the window may be the one that was being overwritten. */
    for (uint64_t back = 0; back + 1 < CAPACITY && back < acknowledged; back++) {
        uint64_t sequence = acknowledged - back;
        missing += read_record((sequence - 1) & (CAPACITY - 1), payload) != sequence;
    }
    uint64_t count = ring_load(memory->cell), units = ring_load(memory->cell + 2);
    double sum = ring_load_double(memory->cell + 1), next = (double)acknowledged + 1;
    miscounted += count != acknowledged && count != acknowledged + 1;
    miscounted += sum != (next - 1) * next / 2 && sum != next * (next + 1) / 2;
    miscounted += units != acknowledged * (acknowledged + 1) / 2 &&
                  units != (acknowledged + 1) * (acknowledged + 2) / 2;
    uint64_t listed = 0;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        uint64_t start = ring_load(ring_slot(&ring, slot));
        listed += start != 0;
        misnamed += start != 0 && (ring_load(ring_slot(&ring, slot) + 1) != SERIES ||
                                   (start != (uint64_t)time_of(acknowledged) &&
                                    start != (uint64_t)time_of(acknowledged + 1)));
        misnamed += running != 0 && start != 0 && start != running;
    }
    misnamed += listed > 1 || (running != 0 && listed == 0);
}

static pid_t
start_writer(void)
{
    memset(memory, 0, sizeof *memory);
    ring_begin(&ring, memory->words, CAPACITY);
    pid_t writer = fork();
    if (writer == 0) {
        for (uint64_t number = 1;; number++) {
            call_once(number);
        }
    }
    return writer;
}

#ifdef STEPS
static void
kill_writers(uint64_t times)
{
    for (deadly_step = 1; deadly_step <= times; deadly_step++) {
        waitpid(start_writer(), NULL, 0);
        examine();
    }
}
#else
static void
kill_writers(uint64_t times)
{
    srandom(1);
    for (uint64_t killed = 0; killed < times; killed++) {
        pid_t writer = start_writer();
        struct timespec pause = {.tv_nsec = random() % 200000};
        while (ring_load(&memory->acknowledged) < 2 * CAPACITY) {
        }
        nanosleep(&pause, NULL);
        kill(writer, SIGKILL);
        waitpid(writer, NULL, 0);
        examine();
    }
}
#endif

int
main(int count, char **arguments)
{
    if (count < 3) {
        return 2;
    }
    uint64_t times = strtoull(arguments[2], NULL, 10);
    fault = count > 3 ? (unsigned)atoi(arguments[3]) : NO_FAULT;
    reader = count > 4 ? (unsigned)atoi(arguments[4]) : SECOND_LOOK;
    memory = mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return 3;
    }
    ring_begin(&ring, memory->words, CAPACITY);
    if (strcmp(arguments[1], "live") == 0) {
        race(times);
    } else {
        kill_writers(times);
    }
    printf("{\"accepted\": %llu, \"torn\": %llu, \"missing\": %llu, \"miscounted\": %llu, \"misnamed\": %llu}\n",
           (unsigned long long)accepted, (unsigned long long)torn, (unsigned long long)missing,
           (unsigned long long)miscounted, (unsigned long long)misnamed);
    return 0;
}
