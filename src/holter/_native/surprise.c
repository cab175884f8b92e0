/* A step of the walks of many signals: holter.surprise.stride specifies it. */
#include "hot.h"

#include <math.h>

enum { QUANTILES = 64, PLACES = QUANTILES + 1, DRIFTS = 2, WALKS = 2 * DRIFTS + 1, STATISTICS = WALKS + 2 };
/* So few take so little time that it is not worth while to let other threads run. */
enum { FEW_SIGNALS = 4096 };
/* Of the bytes that scores are put down in. */
static const double STEPS = 40.0;
enum { MOST_STEPS = 127 };
static const double CLIP = 3.0, SCATTER_DRIFT = 0.3, DRIFT[DRIFTS] = {0.25, 0.75};

typedef struct {
    const float *values, *quantiles, *furthest, *per_scatter, *square, *per_square, *unit, *unusual, *median;
    const double *tied, *usual;
    const uint8_t *judged;
    const int8_t *way;
    float *state, *highest;
    uint16_t *lasting;
    int8_t *scores;
    double first, spacing;
    Py_ssize_t count, over;
} Step;

/* How many of the quantiles are below a value, or, with `or_equal`, not above it. */
static inline int
rank(const float *quantiles, float value, bool or_equal)
{
    int low = 0, high = QUANTILES;
    while (low < high) {
        int middle = (low + high) / 2;
        if (or_equal ? quantiles[middle] <= value : quantiles[middle] < value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static inline double
score(const Step *step, Py_ssize_t index)
{
    const float *quantiles = step->quantiles + index * QUANTILES;
    float value = step->values[index];
    int below = rank(quantiles, value, false);
    int place = below < 1 ? 1 : below > QUANTILES - 1 ? QUANTILES - 1 : below;
    float low = quantiles[place - 1], high = quantiles[place], width = high - low;
    double found, furthest = step->furthest[index];
    if (width <= 0 || high == value || low == value) {
        found = step->tied[below * PLACES + rank(quantiles, value, true)];
    } else {
        float part = (value - low) / width;
        part = part < -0.5f ? -0.5f : part > 1.5f ? 1.5f : part;
        found = (part + (double)(place - 1)) * step->spacing + step->first;
    }
    return found > furthest ? furthest : found < -furthest ? -furthest : found;
}

static inline void
walk(Step *step, Py_ssize_t index, int which, double by)
{
    Py_ssize_t at = which * step->count + index;
    float height = step->state[at];
    if (step->judged[index]) {
        height = (float)(height + by);
        height = height < 0 ? 0 : height;
        step->state[at] = height;
    }
    step->lasting[at] = height > 0 ? (uint16_t)(step->lasting[at] + 1) : 0;
    if (height > step->highest[at]) {
        step->highest[at] = height;
    }
}

static void
step_one(Step *step, Py_ssize_t index)
{
    Py_ssize_t count = step->count;
    double found = score(step, index), steps = rint(found * STEPS);
    step->scores[index] = (int8_t)(steps >= MOST_STEPS ? MOST_STEPS : steps > -MOST_STEPS ? steps : -MOST_STEPS);
    double residual = (found - step->usual[index]) * step->per_scatter[index];
    residual = residual < -CLIP ? -CLIP : residual > CLIP ? CLIP : residual;
    for (int drift = 0; drift < DRIFTS; drift++) {
        walk(step, index, drift, residual - DRIFT[drift]);
        walk(step, index, DRIFTS + drift, -DRIFT[drift] - residual);
    }
    int8_t way = step->way[index];
    double counted = (way > 0 && residual < 0) || (way < 0 && residual > 0) ? 0 : residual;
    double excess = (counted * counted - step->square[index]) * step->per_square[index];
    walk(step, index, WALKS - 1, (excess > CLIP ? CLIP : excess) - SCATTER_DRIFT);
    double away = (double)step->values[index] - step->median[index];
    for (int side = 0; side < 2; side++) {
        double outside = away / step->unit[side * count + index];
        step->state[(WALKS + side) * count + index] = (float)(outside > 0 ? log1p(outside) : 0);
    }
    for (int which = 0; which < STATISTICS; which++) {
        step->over += step->state[which * count + index] > step->unusual[which * count + index];
    }
}

static void
step_all(Step *step)
{
    for (Py_ssize_t index = 0; index < step->count; index++) {
        step_one(step, index);
    }
}

/* What changes with each step, and what is known: the fields of Now and Known of holter.surprise.stride, in their order. */
enum { OF_NOW = 5, OF_KNOWN = 13, BUFFERS = OF_NOW + OF_KNOWN };

PyObject *
surprise_step(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    (void)module;
    static const Py_ssize_t sizes[BUFFERS] = {4, 8, 4, 1, 1, 4, 4, 2, 4, 4, 4, 4, 4, 4, 4, 1, 8, 8};
    /* Of how many items each has to be a signal; the table of ties and the grid are one for all. */
    static const Py_ssize_t each[BUFFERS] = {1, 1, 1, 1, 1, STATISTICS, WALKS, WALKS, QUANTILES, 1, 2, 1, 2, STATISTICS,
                                             1, 1, 0, 0};
    PyObject *arrays[BUFFERS];
    Py_buffer views[BUFFERS];
    if (!fields_get(arguments, given, OF_NOW, OF_KNOWN, arrays) || !buffers_get(arrays, views, sizes, BUFFERS, 0)) {
        return NULL;
    }
    Step step = {
        .values = views[0].buf,
        .usual = views[1].buf,
        .per_scatter = views[2].buf,
        .judged = views[3].buf,
        .scores = views[4].buf,
        .state = views[5].buf,
        .highest = views[6].buf,
        .lasting = views[7].buf,
        .quantiles = views[8].buf,
        .furthest = views[9].buf,
        .square = views[10].buf,
        .per_square = views[11].buf,
        .unit = views[12].buf,
        .unusual = views[13].buf,
        .median = views[14].buf,
        .way = views[15].buf,
        .tied = views[16].buf,
        .count = views[0].len / 4,
    };
    const double *grid = views[17].buf;
    bool fits = views[16].len == PLACES * PLACES * 8 && views[17].len == QUANTILES * 8;
    for (int index = 0; index < BUFFERS; index++) {
        fits = fits && (!each[index] || views[index].len == sizes[index] * each[index] * step.count);
    }
    if (fits) {
        step.first = grid[0];
        step.spacing = grid[1] - grid[0];
    }
    if (fits && step.count < FEW_SIGNALS) {
        step_all(&step);
    } else if (fits) {
        Py_BEGIN_ALLOW_THREADS;
        step_all(&step);
        Py_END_ALLOW_THREADS;
    }
    buffers_release(views, BUFFERS);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "expected arrays of as many signals");
        return NULL;
    }
    return PyLong_FromSsize_t(step.over);
}
