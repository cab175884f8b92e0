/* A reader's copy of a ring, and the fold's two passes over it: holter.ring and holter.tally specify what they do. */
#include "hot.h"

#include <float.h>
#include <math.h>

/* A record as it was drained, and what those of one series have come to: dtypes of holter.record and holter.tally. */
typedef struct {
    uint64_t commit;
    int64_t time_ns;
    double value;
    uint32_t series, units;
} Drained;

typedef struct {
    int64_t series, count;
    double sum, minimum, maximum, last, first;
    int64_t first_ns, last_ns, zeros, nonfinite;
    int64_t low[2], high[2]; /* of the values above 0, and of those below */
    int64_t unused;          /* two lines of the cache */
} Row;

_Static_assert(sizeof(Drained) == 32, "a record has 32 bytes");
_Static_assert(sizeof(Row) == 128, "a row has 128 bytes");

enum { CELL_SHIFT = 45, CELL_MASK = 127, INDEX_SHIFT = 46, CARRIES = CELL_MASK + 1, SUBNORMAL_BUCKETS = 1074 * 64 };
static const int64_t NOWHERE = (int64_t)1 << 40;
static const int64_t NO_PLACE = -1;
/* Fewer take so little time that it is not worth while to let other threads run, and then to wait for one's turn. */
enum { FEW = 8192 };
enum { OUTCOME_BITS = 63 << 2 };

static inline int64_t
bits_of(double value)
{
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline int64_t
normal_bucket(double magnitude, const int64_t *carries)
{
    int64_t bits = bits_of(magnitude);
    return (bits + carries[bits >> CELL_SHIFT & CELL_MASK]) >> INDEX_SHIFT;
}

static inline int64_t
place(Row *row, int64_t number, int side, int64_t bucket)
{
    if (bucket < row->low[side]) {
        row->low[side] = bucket;
    }
    if (bucket > row->high[side]) {
        row->high[side] = bucket;
    }
    return (int64_t)((uint64_t)(number << 1 | side) << 32 | (uint32_t)bucket);
}

/* Of a value that is not greater than 0, normal and finite. */
static int64_t
place_unusual(Row *row, int64_t number, double value, const int64_t *carries)
{
    if (value == 0) {
        row->zeros++;
        return NO_PLACE;
    }
    if (!isfinite(value)) {
        row->nonfinite++;
        return NO_PLACE;
    }
    int side = value < 0;
    double magnitude = side ? -value : value;
    /* The bits of a subnormal are its value in units of the smallest. */
    int64_t bucket = magnitude < DBL_MIN ? normal_bucket((double)bits_of(magnitude), carries) - SUBNORMAL_BUCKETS
                                         : normal_bucket(magnitude, carries);
    return place(row, number, side, bucket);
}

/* Returns where the value is to be counted: the row and its sign in the high half, the bucket in the low one. */
static inline int64_t
take(Row *row, int64_t number, const Drained *record, double value, const int64_t *carries)
{
    row->count++;
    row->sum += value;
    if (record->time_ns < row->first_ns) {
        row->first_ns = record->time_ns;
        row->first = value;
    }
    if (record->time_ns >= row->last_ns) {
        row->last_ns = record->time_ns;
        row->last = value;
    }
    /* Neither is true of NaN. */
    if (value < row->minimum) {
        row->minimum = value;
    }
    if (value > row->maximum) {
        row->maximum = value;
    }
    if (LIKELY(value >= DBL_MIN && value <= DBL_MAX)) {
        return place(row, number, 0, normal_bucket(value, carries));
    }
    return place_unusual(row, number, value, carries);
}

static void
begin_row(Row *row, uint32_t series)
{
    *row = (Row){.series = series,
                 .minimum = INFINITY,
                 .maximum = -INFINITY,
                 .first_ns = INT64_MAX,
                 .last_ns = INT64_MIN,
                 .low = {NOWHERE, NOWHERE},
                 .high = {-NOWHERE, -NOWHERE}};
}

typedef struct {
    const Drained *records;
    int64_t *row_of;
    const double *factors;
    Row *rows;
    const int64_t *carries;
    int64_t *places;
    Py_ssize_t at, count, series, used, room;
} Survey;

/* Whether all series are known; stops, with more to do, where another row is needed and there is none. */
static bool
survey_all(Survey *survey)
{
    /* In names of its own, since the compiler must think that a store of a place might change the survey. */
    const Drained *records = survey->records;
    const double *factors = survey->factors;
    const int64_t *carries = survey->carries;
    int64_t *row_of = survey->row_of, *places = survey->places;
    Row *rows = survey->rows;
    Py_ssize_t at = survey->at, count = survey->count, used = survey->used;
    bool is_known = true;
    for (; at < count; at++) {
        const Drained *record = records + at;
        uint32_t series = record->series;
        if (UNLIKELY((Py_ssize_t)series >= survey->series)) {
            is_known = false;
            break;
        }
        int64_t number = row_of[series];
        if (UNLIKELY(number < 0 || number >= used)) {
            if (used >= survey->room) {
                break;
            }
            number = row_of[series] = used++;
            begin_row(rows + number, series);
        }
        places[at] = take(rows + number, number, record, record->value * factors[series], carries);
    }
    survey->at = at;
    survey->used = used;
    return is_known;
}

enum { MOST_BUFFERS = 6 };

void
buffers_release(Py_buffer *views, int count)
{
    while (count-- > 0) {
        PyBuffer_Release(views + count);
    }
}

bool
buffers_get(PyObject *const *arguments, Py_buffer *views, const Py_ssize_t *sizes, int count, int writable)
{
    for (int index = 0; index < count; index++) {
        int flags = index >= writable ? PyBUF_WRITABLE : PyBUF_SIMPLE;
        if (PyObject_GetBuffer(arguments[index], views + index, flags) < 0) {
            buffers_release(views, index);
            return false;
        }
        if (views[index].len % sizes[index] || (uintptr_t)views[index].buf % 8) {
            buffers_release(views, index + 1);
            PyErr_SetString(PyExc_ValueError, "expected whole, aligned items");
            return false;
        }
    }
    return true;
}

bool
fields_get(PyObject *const *arguments, Py_ssize_t given, int first, int second, PyObject **fields)
{
    if (given != 2 || !PyTuple_Check(arguments[0]) || !PyTuple_Check(arguments[1]) ||
        PyTuple_GET_SIZE(arguments[0]) != first || PyTuple_GET_SIZE(arguments[1]) != second) {
        PyErr_Format(PyExc_TypeError, "expected two tuples, of %d and %d fields", first, second);
        return false;
    }
    for (int index = 0; index < first + second; index++) {
        fields[index] = index < first ? PyTuple_GET_ITEM(arguments[0], index)
                                      : PyTuple_GET_ITEM(arguments[1], index - first);
    }
    return true;
}

PyObject *
fold_survey(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    (void)module;
    static const Py_ssize_t sizes[] = {sizeof(Drained), 8, 8, 8, sizeof(Row), 8};
    if (count != 8) {
        return PyErr_Format(PyExc_TypeError, "expected 8 arguments, got %zd", count);
    }
    Py_ssize_t at = PyLong_AsSsize_t(arguments[6]), used = PyLong_AsSsize_t(arguments[7]);
    Py_buffer views[MOST_BUFFERS];
    if (PyErr_Occurred() || !buffers_get(arguments, views, sizes, 6, 3)) {
        return NULL;
    }
    Survey survey = {
        .records = views[0].buf,
        .factors = views[1].buf,
        .carries = views[2].buf,
        .row_of = views[3].buf,
        .rows = views[4].buf,
        .places = views[5].buf,
        .at = at,
        .used = used,
        .count = views[0].len / (Py_ssize_t)sizeof(Drained),
        .series = Py_MIN(views[1].len, views[3].len) / 8,
        .room = views[4].len / (Py_ssize_t)sizeof(Row),
    };
    bool is_known = false;
    bool fits = at >= 0 && used >= 0 && used <= survey.room && views[2].len == CARRIES * 8 &&
                views[5].len / 8 >= survey.count;
    if (fits && survey.count - at < FEW) {
        is_known = survey_all(&survey);
    } else if (fits) {
        Py_BEGIN_ALLOW_THREADS;
        is_known = survey_all(&survey);
        Py_END_ALLOW_THREADS;
    }
    buffers_release(views, 6);
    if (!is_known) {
        PyErr_SetString(PyExc_ValueError, fits ? "a record of an unknown series" : "expected room for each record");
        return NULL;
    }
    return Py_BuildValue("nn", survey.at, survey.used);
}

typedef struct {
    int64_t first, size, start, shift;
} Window;

typedef struct {
    const int64_t *places;
    const Window *windows[2];
    uint32_t *counts[2];
    Py_ssize_t count, rows, room[2];
} Count;

/* How many places were counted, up to the first outside of its row's window. */
static Py_ssize_t
count_all(const Count *count, Py_ssize_t index)
{
    for (; index < count->count; index++) {
        int64_t place = count->places[index];
        if (UNLIKELY(place < 0)) {
            continue;
        }
        int64_t row = place >> 33;
        int side = (int)(place >> 32 & 1);
        if (UNLIKELY(row >= count->rows)) {
            break;
        }
        const Window *window = count->windows[side] + row;
        int64_t at = ((int64_t)(int32_t)(uint32_t)place >> (window->shift & 63)) - window->first;
        if (UNLIKELY(at < 0 || at >= window->size)) {
            break;
        }
        at += window->start;
        if (UNLIKELY(at < 0 || at >= count->room[side])) {
            break;
        }
        count->counts[side][at]++;
    }
    return index;
}

PyObject *
fold_count(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    (void)module;
    static const Py_ssize_t sizes[] = {8, sizeof(Window), sizeof(Window), 4, 4};
    if (count != 6) {
        return PyErr_Format(PyExc_TypeError, "expected 6 arguments, got %zd", count);
    }
    Py_ssize_t at = PyLong_AsSsize_t(arguments[5]);
    Py_buffer views[MOST_BUFFERS];
    if (PyErr_Occurred() || !buffers_get(arguments, views, sizes, 5, 3)) {
        return NULL;
    }
    Count counting = {
        .places = views[0].buf,
        .windows = {views[1].buf, views[2].buf},
        .counts = {views[3].buf, views[4].buf},
        .count = views[0].len / 8,
        .rows = Py_MIN(views[1].len, views[2].len) / (Py_ssize_t)sizeof(Window),
        .room = {views[3].len / 4, views[4].len / 4},
    };
    at = Py_MAX(at, 0);
    if (counting.count - at < FEW) {
        at = count_all(&counting, at);
    } else {
        Py_BEGIN_ALLOW_THREADS;
        at = count_all(&counting, at);
        Py_END_ALLOW_THREADS;
    }
    buffers_release(views, 5);
    return PyLong_FromSsize_t(at);
}

/* Copies records from sequence `first` on for as long as they are whole; returns how many. */
static Py_ssize_t
copy_whole(ring_word *ring, uint64_t mask, uint64_t first, uint64_t *to, Py_ssize_t count)
{
    for (Py_ssize_t index = 0; index < count; index++, to += RECORD_WORDS) {
        uint64_t sequence = first + (uint64_t)index;
        ring_word *record = ring + FIRST_RECORD_WORD + ((sequence - 1) & mask) * RECORD_WORDS;
        if (UNLIKELY(!ring_copy(record, to) ||
                     (to[0] & ~(uint64_t)OUTCOME_BITS) != (sequence << 8 | STATE_COMMITTED))) {
            return index;
        }
    }
    return count;
}

PyObject *
fold_copy(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    (void)module;
    static const Py_ssize_t sizes[] = {8, sizeof(Drained)};
    if (count != 3) {
        return PyErr_Format(PyExc_TypeError, "expected 3 arguments, got %zd", count);
    }
    unsigned long long first = PyLong_AsUnsignedLongLong(arguments[2]);
    Py_buffer views[MOST_BUFFERS];
    if (PyErr_Occurred() || !buffers_get(arguments, views, sizes, 2, 1)) {
        return NULL;
    }
    ring_word *ring = views[0].buf;
    Py_ssize_t words = views[0].len / 8, wanted = views[1].len / (Py_ssize_t)sizeof(Drained), copied = -1;
    uint64_t capacity = words > FIRST_RECORD_WORD ? ring_load(ring + CAPACITY_WORD) : 0;
    bool is_ring = capacity > 0 && (capacity & (capacity - 1)) == 0 &&
                   capacity <= (uint64_t)(words - FIRST_RECORD_WORD) / RECORD_WORDS;
    if (is_ring && first > 0) {
        copied = copy_whole(ring, capacity - 1, first, views[1].buf, wanted);
    }
    buffers_release(views, 2);
    if (copied < 0) {
        PyErr_SetString(PyExc_ValueError, "expected a ring, and a sequence from 1 on");
        return NULL;
    }
    return PyLong_FromSsize_t(copied);
}
