/* penalty.c - penalties on parameters.  Sums run in the order of the values. */
#include "fit/penalty.h"

#include <math.h>

#include "base/error.h"
#include "base/memory.h"

/* --- absolute values, squares, norms ------------------------------------------------------------------------------------ */
static double l1(const penalty *p, const double *restrict v, double *restrict g)
{
    double sum = 0;
    for (int64_t i = 0; i < p->n; i++) {
        sum += fabs(v[i]);
    }
    for (int64_t i = 0; g && i < p->n; i++) {
        g[i] += v[i] > 0 ? p->weight : v[i] < 0 ? -p->weight : 0;
    }
    return p->weight * sum;
}

static double l2(const penalty *p, const double *restrict v, double *restrict g)
{
    double sum = 0;
    for (int64_t i = 0; i < p->n; i++) {
        sum += v[i] * v[i];
    }
    for (int64_t i = 0; g && i < p->n; i++) {
        g[i] += 2 * p->weight * v[i];
    }
    return p->weight * sum;
}

/* Values [outer][group][inner] of dimension `along`. */
static double group(const penalty *p, const double *v, double *g)
{
    int64_t outer = 1, inner = 1, ngroup = p->ndim ? p->dims[p->along] : p->n;
    for (int d = 0; d < p->ndim; d++) {
        outer *= d < p->along ? p->dims[d] : 1;
        inner *= d > p->along ? p->dims[d] : 1;
    }
    double total = 0;
    for (int64_t k = 0; k < ngroup; k++) {
        double square = 0;
        for (int64_t o = 0; o < outer; o++) {
            const double *part = v + (o * ngroup + k) * inner;
            for (int64_t i = 0; i < inner; i++) {
                square += part[i] * part[i];
            }
        }
        double norm = sqrt(square);
        total += norm;
        for (int64_t o = 0; g && norm > 0 && o < outer; o++) {
            int64_t first = (o * ngroup + k) * inner;
            for (int64_t i = first; i < first + inner; i++) {
                g[i] += p->weight * v[i] / norm;
            }
        }
    }
    return p->weight * total;
}

/* --- smoothness: squares of differences ---------------------------------------------------------------------------------
 * One difference is a short list of values with whole factors; those outside the array are 0 or make the difference not count. */
typedef struct stencil {
    int n;
    struct {
        int t, y, x, factor;
    } point[5];
} stencil;

/* Shape as the last three dimensions see it: copies of [nt][ny][nx]. */
typedef struct volume {
    int64_t ncopy, nt, ny, nx;
} volume;

static volume volume_of(const penalty *p)
{
    int64_t last[3] = {1, 1, 1}, ncopy = 1;
    if (p->ndim <= 1) {
        last[p->kind == PENALTY_LAPLACE_TIME ? 0 : 2] = p->n;
    } else {
        for (int d = 0; d < p->ndim; d++) {
            int place = d - p->ndim + 3;
            if (place >= 0) {
                last[place] = p->dims[d];
            } else {
                ncopy *= p->dims[d];
            }
        }
    }
    return (volume){ncopy, last[0], last[1], last[2]};
}

static bool inside(const volume *a, int64_t t, int64_t y, int64_t x)
{
    return t >= 0 && t < a->nt && y >= 0 && y < a->ny && x >= 0 && x < a->nx;
}

/* The difference at (t, y, x) of one copy, squared. */
static inline __attribute__((always_inline)) double square_at(const penalty *p, const stencil *s, const volume *a, const int64_t at[3],
                                                              const double *v, double *g)
{
    double difference = 0;
    for (int i = 0; i < s->n; i++) {
        int64_t t = at[0] + s->point[i].t, y = at[1] + s->point[i].y, x = at[2] + s->point[i].x;
        if (inside(a, t, y, x)) {
            difference += s->point[i].factor * v[(t * a->ny + y) * a->nx + x];
        } else if (!p->zero_outside) {
            return 0;
        }
    }
    for (int i = 0; g && i < s->n; i++) {
        int64_t t = at[0] + s->point[i].t, y = at[1] + s->point[i].y, x = at[2] + s->point[i].x;
        if (inside(a, t, y, x)) {
            g[(t * a->ny + y) * a->nx + x] += 2 * p->weight * difference * s->point[i].factor;
        }
    }
    return difference * difference;
}

/* Columns [from, to) of row (t, y) at which every point of the stencil is inside; none, or too few to be worth it: from = to. */
static void whole_columns(const stencil *s, const volume *a, int64_t t, int64_t y, int64_t *from, int64_t *to)
{
    *from = 0;
    *to = a->nx;
    for (int i = 0; i < s->n; i++) {
        bool row = inside(a, t + s->point[i].t, y + s->point[i].y, 0);
        *from = s->point[i].x < 0 && *from < -s->point[i].x ? -s->point[i].x : *from;
        *to = row ? (*to < a->nx - s->point[i].x ? *to : a->nx - s->point[i].x) : 0;
    }
    *to = *to - *from >= 16 ? *to : *from;
}

/* Adds the squares of n differences next to each other, all inside, in their order. */
static double squares_inside(const penalty *p, const stencil *s, const volume *a, int64_t n, double sum, const double *restrict v, double *restrict g)
{
    enum { RUN = 64 };
    for (int64_t first = 0; first < n; first += RUN) {
        int m = (int)(n - first < RUN ? n - first : RUN);
        double difference[RUN] = {0};
        for (int k = 0; k < s->n; k++) {
            const double *at = v + first + (s->point[k].t * a->ny + s->point[k].y) * a->nx + s->point[k].x, factor = s->point[k].factor;
            for (int i = 0; i < m; i++) {
                difference[i] += factor * at[i];
            }
        }
        for (int i = 0; i < m; i++) {
            sum += difference[i] * difference[i];
        }
        for (int k = 0; g && k < s->n; k++) {
            double *at = g + first + (s->point[k].t * a->ny + s->point[k].y) * a->nx + s->point[k].x, factor = 2 * p->weight * s->point[k].factor;
            for (int i = 0; i < m; i++) {
                at[i] += factor * difference[i];
            }
        }
    }
    return sum;
}

/* Centred differences stand at every value; first differences also between the edge and what is outside before it, so they begin at -1 along `axis`.
 */
static double differences(const penalty *p, const stencil *s, int axis, const double *v, double *g)
{
    volume a = volume_of(p);
    double sum = 0;
    int64_t size = a.nt * a.ny * a.nx, at[3], from, to;
    for (int64_t k = 0; k < a.ncopy; k++, v += size, g = g ? g + size : NULL) {
        for (at[0] = axis == 0 ? -1 : 0; at[0] < a.nt; at[0]++) {
            for (at[1] = axis == 1 ? -1 : 0; at[1] < a.ny; at[1]++) {
                int64_t row = (at[0] * a.ny + at[1]) * a.nx;
                whole_columns(s, &a, at[0], at[1], &from, &to);
                for (at[2] = axis == 2 ? -1 : 0; at[2] < a.nx; at[2]++) {
                    if (at[2] == from && to > from) {
                        sum = squares_inside(p, s, &a, to - from, sum, v + row + from, g ? g + row + from : NULL);
                        at[2] = to - 1;
                    } else {
                        sum += square_at(p, s, &a, at, v, g);
                    }
                }
            }
        }
    }
    return p->weight * sum;
}

static double laplace_space(const penalty *p, const double *v, double *g)
{
    static const stencil s = {5, {{0, 0, 0, -4}, {0, -1, 0, 1}, {0, 1, 0, 1}, {0, 0, -1, 1}, {0, 0, 1, 1}}};
    return differences(p, &s, -1, v, g);
}

static double laplace_time(const penalty *p, const double *v, double *g)
{
    static const stencil s = {3, {{0, 0, 0, -2}, {-1, 0, 0, 1}, {1, 0, 0, 1}}};
    return differences(p, &s, -1, v, g);
}

static double smooth(const penalty *p, const double *v, double *g)
{
    static const stencil s[3] = {{2, {{0, 0, 0, -1}, {1, 0, 0, 1}}}, {2, {{0, 0, 0, -1}, {0, 1, 0, 1}}}, {2, {{0, 0, 0, -1}, {0, 0, 1, 1}}}};
    volume a = volume_of(p);
    double sum = 0;
    for (int axis = 0; axis < 3; axis++) { /* a dimension of one value has no differences */
        int64_t n = axis == 0 ? a.nt : axis == 1 ? a.ny : a.nx;
        sum += n > 1 ? differences(p, &s[axis], axis, v, g) : 0;
    }
    return sum;
}

double penalty_value(const penalty *p, const double *value, double *g)
{
    static double (*const kinds[PENALTY_KINDS])(const penalty *, const double *, double *) = {l1, l2, group, laplace_space, laplace_time, smooth};
    ASSERT(p->kind >= 0 && p->kind < PENALTY_KINDS && p->along >= 0 && (p->ndim == 0 || p->along < p->ndim));
    return kinds[p->kind](p, value + p->at, g ? g + p->at : NULL);
}

/* --- the `penalties` list ------------------------------------------------------------------------------------------------ */
typedef struct item {
    const char *parameter;
    double weight[PENALTY_KINDS];
    int64_t along;
    int outside;
} item;

#define WEIGHT(name, kind, help)                                                                                                                     \
    {                                                                                                                                                \
        name, KEY_REAL, "", "0", 0, 1e300, NULL, help, offsetof(item, weight) + (kind) * sizeof(double), 0, 0                                        \
    }
static const key_spec keys[] = {
    {"parameter", KEY_TEXT, NULL, NULL, 0, 0, NULL, "STAGE.PARAMETER that is kept small or smooth", offsetof(item, parameter), 0, 0},
    WEIGHT("l1", PENALTY_L1, "times the sum of |p|"),
    WEIGHT("l2", PENALTY_L2, "times the sum of p^2 (no 1/2)"),
    WEIGHT("group", PENALTY_GROUP, "times the sum over groups of the group's norm: whole groups go to 0"),
    {"group_along", KEY_INT, NULL, "0", 0, 4, NULL, "dimension whose indices are the groups, 0 the slowest", offsetof(item, along), 0, 0},
    WEIGHT("laplace_space", PENALTY_LAPLACE_SPACE, "times the sum of squares of the 5-point Laplacian over the last two dimensions"),
    WEIGHT("laplace_time", PENALTY_LAPLACE_TIME, "times the sum of squares of second differences along the third dimension from the last"),
    WEIGHT("smooth", PENALTY_SMOOTH, "times the sum of squares of first differences along the last three dimensions"),
    {"outside", KEY_WORD, NULL, "ignore", 0, 0, "ignore|zero", "edges: only differences wholly inside count, or all is 0 outside",
     offsetof(item, outside), 0, 0},
};

static const char text[] =
    "A list of {parameter: STAGE.PARAMETER, l1: .., l2: .., group: .., laplace_space: .., laplace_time: .., smooth: ..}, added to the loss as it\n"
    "stands, whatever the size of the batch.  Values are the physical ones.  Kernels are [channel out][channel in][lag][y][x].";

const help_topic penalty_topic = {"penalties", "section `penalties` of a fit: parameters kept small or smooth", text, keys,
                                  sizeof keys / sizeof *keys};

/* Whether the shape has the dimensions that a kind looks along. */
static bool has_shape(enum penalty_kind kind, int ndim)
{
    return kind == PENALTY_LAPLACE_SPACE ? ndim >= 2 : kind == PENALTY_LAPLACE_TIME ? ndim != 2 : true;
}

static int read_item(input *in, const input_node *at, penalty_find find, void *ctx, penalty *list)
{
    static const char *const names[PENALTY_KINDS] = {"l1", "l2", "group", "laplace_space", "laplace_time", "smooth"};
    item it;
    penalty p = {.kind = PENALTY_L1};
    int n = 0, given = 0;
    INPUT_FILL(in, at, "penalties", keys, &it);
    if (!it.parameter || !find(ctx, it.parameter, &p.at, &p.n, &p.ndim, p.dims)) {
        if (it.parameter) {
            input_problem(in, input_child(at, "parameter"), "no stage has a parameter '%s'", it.parameter);
        }
        return 0;
    }
    for (int kind = 0; kind < PENALTY_KINDS; kind++) {
        given += input_child(at, names[kind]) != NULL;
        if (it.weight[kind] == 0) { /* given as 0, as in a sweep, or not at all */
            continue;
        }
        p.kind = (enum penalty_kind)kind;
        p.weight = it.weight[kind];
        p.along = kind == PENALTY_GROUP ? (int)it.along : 0;
        p.zero_outside = it.outside == 1;
        if (p.along > 0 && p.along >= p.ndim) {
            input_problem(in, input_child(at, "group_along"), "dimension %d of '%s', which has %d; allowed: 0 to %d", p.along, it.parameter, p.ndim,
                          p.ndim > 0 ? p.ndim - 1 : 0);
            continue;
        }
        if (!has_shape(p.kind, p.ndim)) {
            input_problem(in, input_child(at, names[kind]), "'%s' has %d dimensions, so it has no %s to be smooth in", it.parameter, p.ndim,
                          p.kind == PENALTY_LAPLACE_TIME ? "time" : "space");
            continue;
        }
        list[n++] = p;
    }
    if (given == 0 && input_nproblem(in) == 0) {
        input_problem(in, at, "no weight is given; give l1, l2, group, laplace_space, laplace_time or smooth");
    }
    return n;
}

penalty *penalty_read(input *in, const input_node *list, penalty_find find, void *ctx, int *count)
{
    *count = 0;
    if (list && !input_is_list(list)) {
        input_problem(in, list, "a list is wanted: - {parameter: STAGE.PARAMETER, l2: 1e-3}");
        list = NULL;
    }
    penalty *all = MEMORY_NEW(penalty, input_count(list) * PENALTY_KINDS);
    for (int i = 0; i < input_count(list); i++) {
        *count += read_item(in, input_item(list, i), find, ctx, all + *count);
    }
    return all;
}
