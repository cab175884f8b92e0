/* A block of values merged into the past of many signals: holter.surprise.ranks specifies it. */
#include "hot.h"

#include <math.h>

enum { QUANTILES = 64, PLACES = QUANTILES + 1, MOST_NEW = 64 };
/* So few take so little time that it is not worth while to let other threads run. */
enum { FEW_SIGNALS = 256 };

typedef struct {
    const float *block, *past;
    const int64_t *rows;
    const double *shares, *edges;
    float *quantiles, *known;
    Py_ssize_t count, width, chosen;
} Merge;

/* Put down in ascending order which values of a row of the block there are; how many. */
static int
sort_new(const Merge *merge, Py_ssize_t row, double *fresh)
{
    const float *values = merge->block + row * merge->width;
    int added = 0;
    for (Py_ssize_t index = 0; index < merge->width; index++) {
        double value = values[index];
        if (!isfinite(value)) {
            continue;
        }
        int at = added++;
        for (; at > 0 && fresh[at - 1] > value; at--) {
            fresh[at] = fresh[at - 1];
        }
        fresh[at] = value;
    }
    return added;
}

static void
merge_one(const Merge *merge, Py_ssize_t row)
{
    double fresh[MOST_NEW], values[QUANTILES + MOST_NEW + 2], shares[QUANTILES + MOST_NEW + 2];
    float *quantiles = merge->quantiles + row * QUANTILES;
    int added = sort_new(merge, row, fresh);
    double old = merge->past[row], all = old + added;
    if (!(all > 0)) {
        return;
    }
    /* Without a past its quantiles say nothing. */
    int had = merge->known[row] > 0 ? QUANTILES : 0, passed = 0, taken = 0, size = 1;
    while (passed < had || taken < added) {
        if (passed < had && (taken == added || quantiles[passed] <= fresh[taken])) {
            values[size] = quantiles[passed];
            shares[size++] = (old * merge->shares[passed] + taken) / all;
            passed++;
        } else {
            double value = fresh[taken++], share = merge->edges[passed];
            /* Strictly between two it is on the way from one to the other; what is tied counts for the middle. */
            if (passed > 0 && passed < had && value > quantiles[passed - 1]) {
                double low = quantiles[passed - 1], width = quantiles[passed] - low;
                share = merge->shares[passed - 1];
                share += (value - low) / width * (merge->shares[passed] - share);
            }
            values[size] = value;
            share = (old * share + taken - 0.5) / all;
            shares[size] = size > 1 && shares[size - 1] > share ? shares[size - 1] : share;
            size++;
        }
    }
    if (size == 1) {
        return;
    }
    /* Outside the outermost shares the outermost values hold. */
    values[0] = values[1];
    shares[0] = -0.5;
    values[size] = values[size - 1];
    shares[size] = 1.5;
    for (int index = 0, at = 0; index < QUANTILES; index++) {
        double wanted = merge->shares[index];
        while (at + 1 < size && shares[at + 1] <= wanted) {
            at++;
        }
        double part = (wanted - shares[at]) / (shares[at + 1] - shares[at]);
        quantiles[index] = (float)(values[at] + (values[at + 1] - values[at]) * part);
    }
    merge->known[row] += (float)added;
}

static void
merge_all(const Merge *merge)
{
    for (Py_ssize_t index = 0; index < merge->chosen; index++) {
        merge_one(merge, (Py_ssize_t)merge->rows[index]);
    }
}

PyObject *
ranks_merge(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    (void)module;
    /* The fields of Fresh and Past of holter.surprise.ranks, in their order. */
    enum { OF_FRESH = 3, OF_PAST = 4, BUFFERS = OF_FRESH + OF_PAST, WRITABLE = 5 };
    static const Py_ssize_t sizes[BUFFERS] = {4, 8, 4, 8, 8, 4, 4};
    PyObject *arrays[BUFFERS];
    Py_buffer views[BUFFERS];
    if (!fields_get(arguments, given, OF_FRESH, OF_PAST, arrays) ||
        !buffers_get(arrays, views, sizes, BUFFERS, WRITABLE)) {
        return NULL;
    }
    Merge merge = {
        .block = views[0].buf,
        .rows = views[1].buf,
        .past = views[2].buf,
        .shares = views[3].buf,
        .edges = views[4].buf,
        .quantiles = views[5].buf,
        .known = views[6].buf,
        .count = views[6].len / 4,
        .chosen = views[1].len / 8,
    };
    merge.width = merge.count ? views[0].len / 4 / merge.count : 0;
    bool fits = merge.width <= MOST_NEW && views[0].len == 4 * merge.count * merge.width &&
                views[2].len == views[6].len && views[3].len == QUANTILES * 8 && views[4].len == PLACES * 8 &&
                views[5].len == views[6].len * QUANTILES;
    for (Py_ssize_t index = 0; fits && index < merge.chosen; index++) {
        fits = merge.rows[index] >= 0 && merge.rows[index] < merge.count;
    }
    if (fits && merge.chosen < FEW_SIGNALS) {
        merge_all(&merge);
    } else if (fits) {
        Py_BEGIN_ALLOW_THREADS;
        merge_all(&merge);
        Py_END_ALLOW_THREADS;
    }
    buffers_release(views, BUFFERS);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "expected arrays of as many signals");
        return NULL;
    }
    Py_RETURN_NONE;
}
