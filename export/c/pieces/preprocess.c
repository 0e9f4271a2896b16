/* --- Preprocessing of a gray frame; runtime/preprocess is the Python version ------------------ */

#define LONGEST 192 /* pixels; a frame with a longer side is shrunk to this side */
#define SMALLEST 28 /* pixels; a smaller digit is segmented again in the original frame */
#define COARSE 48   /* pixels; light is estimated on a copy whose sides are at most this long */
#define TERMS 6     /* number of terms of the light's surface: 1, x, y, x^2, xy, y^2 */
#define WIDEST_STROKE 0.4 /* share of the longer side; wider objects are background */
#define MIN_AREA 6        /* pixels; a frame with less ink is blank */
#define MIN_CONTRAST 10.0 /* gray levels; weaker contrast is noise */
#define NOISE_FACTOR 4.0  /* contrast below this multiple of the background's noise is noise */
#define STROKE_LEVEL 0.3 /* share of the ink's level; stronger contrast is ink */
#define THIN_STROKE 1.3  /* pixels; thinner strokes of a 20-pixel digit are widened */

/* The digit in a frame. */
struct ink {
    int left, top, right, bottom; /* bounding box; right and bottom are exclusive */
    double level;                 /* mean of the strongest contrast, in gray levels */
    double noise_floor;           /* contrast below this may be noise, in gray levels */
    float ground;                 /* contrast of the background, which is subtracted */
    bool dark;                    /* the ink is darker than the background */
    bool tight;                   /* the frame is cropped to the digit; its background is even */
};

/* Return value limited to 0 ... most. */
static int within(int value, int most)
{
    return value < 0 ? 0 : value > most ? most : value;
}

/* Return the larger number. */
static int larger(int one, int other)
{
    return one > other ? one : other;
}

/* Return the smaller number. */
static int smaller(int one, int other)
{
    return one < other ? one : other;
}

/* Return value >= 0, rounded to the nearest integer, ties to even, like Python's round. */
static int round_half_even(double value)
{
    const int whole = (int)value;
    const double rest = value - whole;

    return whole + (rest > 0.5 || (rest == 0.5 && whole % 2 == 1));
}

/* Return value >= 0, rounded up to an integer. */
static int round_up(double value)
{
    return (int)value + (value > (int)value);
}

/* Return the square root of value >= 0, by Newton's method. */
static double square_root(double value)
{
    double root = value > 1.0 ? value : 1.0;
    int n;

    for (n = 0; n < 60 && root > 0.0; n++) {
        root = 0.5 * (root + value / root);
    }
    return root;
}

/* Return e^x for -4 <= x <= 0: the Taylor series of e^(x / 8), to the power of 8. */
static double exponential(double x)
{
    double term = 1.0, sum = 1.0;
    int n;

    for (n = 1; n < 16; n++) {
        term *= x / 8.0 / n;
        sum += term;
    }
    sum *= sum;
    sum *= sum;
    return sum * sum;
}

/* --- Resampling as in Pillow --- */

enum filter { BOX, BILINEAR };

/* Return the weight of a pixel at a distance from the center of a filter. */
static double weight_at(enum filter filter, double distance)
{
    if (filter == BOX) {
        return distance > -0.5 && distance <= 0.5 ? 1.0 : 0.0;
    }
    distance = distance < 0.0 ? -distance : distance;
    return distance < 1.0 ? 1.0 - distance : 0.0;
}

/* The positions of an image's lines, which are its rows or columns. */
struct lines {
    int step;  /* from one value of a line to the next */
    int pitch; /* from one line to the next */
};

/* Shrink `count` lines of `length` values to `size` values, as Pillow does: with weights of 22 bits,
 * which are the same for all lines. */
static void shrink_lines(enum filter filter, const uint8_t *in, struct lines from, int length,
                         uint8_t *out, struct lines to, int size, int count)
{
    const double scale = (double)length / size;
    const double inverse = 1.0 / scale;
    const double support = filter == BOX ? 0.5 * scale : scale;
    int32_t weights[DIGITS_MAX_SIDE];
    int n, i, line;

    for (n = 0; n < size; n++) {
        const double center = (n + 0.5) * scale;
        const int first = within((int)(center - support + 0.5), length);
        const int end = within((int)(center + support + 0.5), length);
        double total = 0.0;

        for (i = first; i < end; i++) {
            total += weight_at(filter, (i - center + 0.5) * inverse);
        }
        for (i = first; i < end; i++) {
            const double weight = weight_at(filter, (i - center + 0.5) * inverse) / total;

            weights[i - first] = (int32_t)(weight * (1 << 22) + 0.5);
        }
        for (line = 0; line < count; line++) {
            const uint8_t *values = in + line * from.pitch + first * from.step;
            int32_t sum = 1 << 21;

            for (i = 0; i < end - first; i++) {
                sum += weights[i] * values[i * from.step];
            }
            out[line * to.pitch + n * to.step] = (uint8_t)within(sum >> 22, 255);
        }
    }
}

/* Shrink an image to out_width x out_height. */
static void shrink(enum filter filter, const uint8_t *in, int width, int height, uint8_t *between,
                   uint8_t *out, int out_width, int out_height)
{
    /* Pillow 13 shrinks columns first if they lose more than twice as many pixels as rows. */
    if (height - out_height > 2 * (width - out_width)) {
        const struct lines columns = {width, 1}, rows = {1, width}, out_rows = {1, out_width};

        shrink_lines(filter, in, columns, height, between, columns, out_height, width);
        shrink_lines(filter, between, rows, width, out, out_rows, out_width, out_height);
    } else {
        const struct lines rows = {1, width}, out_rows = {1, out_width}, columns = {out_width, 1};

        shrink_lines(filter, in, rows, width, between, out_rows, out_width, height);
        shrink_lines(filter, between, columns, height, out, columns, out_height, out_width);
    }
}

/* The values of a line from which one value of the enlarged line is interpolated, and weights. */
struct taps {
    int first;
    int count;
    double weights[3];
};

/* Return the taps for index `at`, if a line of `size` values is enlarged to `length` values. */
static struct taps taps_at(int size, int length, int at)
{
    const double center = (at + 0.5) * ((double)size / length);
    const int first = within((int)(center - 0.5), size), end = within((int)(center + 1.5), size);
    struct taps taps = {.first = first, .count = end - first};
    double total = 0.0;
    int i;

    for (i = 0; i < taps.count; i++) {
        taps.weights[i] = weight_at(BILINEAR, first + i - center + 0.5);
        total += taps.weights[i];
    }
    for (i = 0; i < taps.count; i++) {
        taps.weights[i] /= total;
    }
    return taps;
}

/* Return the weighted sum of values of a line. `step` is the distance between neighbors. */
static float apply_taps(const struct taps *taps, const float *line, int step)
{
    double sum = 0.0;
    int i;

    for (i = 0; i < taps->count; i++) {
        sum += line[(taps->first + i) * step] * taps->weights[i];
    }
    return (float)sum;
}

/* Copy a frame to workspace->plane. Shrink it if its longer side is longer than LONGEST. */
static void copy_frame(const uint8_t *gray, int width, int height,
                       digits_preprocess_workspace *workspace, int *out_width, int *out_height)
{
    const double ratio = (double)LONGEST / larger(width, height);
    int i;

    if (ratio >= 1.0) {
        *out_width = width;
        *out_height = height;
        for (i = 0; i < width * height; i++) {
            workspace->plane[i] = gray[i];
        }
        return;
    }
    *out_width = larger(round_half_even(width * ratio), 1);
    *out_height = larger(round_half_even(height * ratio), 1);
    shrink(BILINEAR, gray, width, height, workspace->shared.bytes, workspace->plane, *out_width,
           *out_height);
}

/* --- Light --- */

/* Subtract from each value the local mean of a square of 2 half + 1 pixels around it. Then subtract
 * the global mean of the differences. */
static void subtract_local_mean(const float *values, float *between, float *out, int width,
                                int height, int half)
{
    double mean = 0.0;
    int x, y, i;

    for (y = 0; y < height; y++) {
        for (x = 0; x < width; x++) {
            const int first = larger(x - half, 0), last = smaller(x + half, width - 1);
            double sum = 0.0;

            for (i = first; i <= last; i++) {
                sum += values[y * width + i];
            }
            between[y * width + x] = (float)(sum / (last - first + 1));
        }
    }
    for (y = 0; y < height; y++) {
        const int first = larger(y - half, 0), last = smaller(y + half, height - 1);

        for (x = 0; x < width; x++) {
            double sum = 0.0;

            for (i = first; i <= last; i++) {
                sum += between[i * width + x];
            }
            out[y * width + x] = values[y * width + x] - (float)(sum / (last - first + 1));
            mean += out[y * width + x];
        }
    }
    mean /= width * height;
    for (i = 0; i < width * height; i++) {
        out[i] -= (float)mean;
    }
}

/* Return a number above 0 if the ink is lighter than the background. Ink covers fewer pixels than
 * the background, so gray levels are skewed towards the ink. The border of a frame contains little
 * ink. Both are measured relative to the local mean in a narrow and in a wide window. */
static double lightness(struct digits_light *light, int width, int height)
{
    float *const local = light->opened;
    const int half[2] = {(int)(0.15 * larger(width, height)) / 2,
                         (int)(0.5 * larger(width, height)) / 2};
    double score = 0.0, spread = 0.0, rim = 0.0;
    int window, i;

    for (window = 0; window < 2; window++) {
        double square = 0.0, cube = 0.0;

        subtract_local_mean(light->coarse, light->between, local, width, height, half[window]);
        for (i = 0; i < width * height; i++) {
            square += (double)local[i] * local[i];
            cube += (double)local[i] * local[i] * local[i];
        }
        spread = square > 0.0 ? square_root(square / (width * height)) : 0.0;
        if (spread > 0.0) {
            score += cube / (width * height) / (spread * spread * spread);
        }
    }
    for (i = 0; i < width; i++) {
        rim += local[i] + local[(height - 1) * width + i];
    }
    for (i = 0; i < height; i++) {
        rim += local[i * width] + local[i * width + width - 1];
    }
    return spread > 0.0 ? score - rim / (2 * (width + height)) / spread : score;
}

/* Write the terms of the surface at a pixel. Coordinates are scaled to the range -1 to 1. */
static void surface_terms(int x, int y, int width, int height, double terms[TERMS])
{
    const double across = width > 1 ? 2.0 * x / (width - 1) - 1.0 : -1.0;
    const double down = height > 1 ? 2.0 * y / (height - 1) - 1.0 : -1.0;

    terms[0] = 1.0;
    terms[1] = across;
    terms[2] = down;
    terms[3] = across * across;
    terms[4] = down * across;
    terms[5] = down * down;
}

/* Return the value of the surface at a pixel. */
static double surface_at(const double fit[TERMS], int x, int y, int width, int height)
{
    double terms[TERMS], sum = 0.0;
    int n;

    surface_terms(x, y, width, height, terms);
    for (n = 0; n < TERMS; n++) {
        sum += fit[n] * terms[n];
    }
    return sum;
}

/* Solve matrix . fit = right side by Gaussian elimination. On entry, `fit` is the right side. */
static void solve(double matrix[TERMS][TERMS], double fit[TERMS])
{
    int n, row, column;

    for (n = 0; n < TERMS; n++) {
        for (row = n + 1; row < TERMS; row++) {
            const double factor = matrix[row][n] / matrix[n][n];

            for (column = n; column < TERMS; column++) {
                matrix[row][column] -= factor * matrix[n][column];
            }
            fit[row] -= factor * fit[n];
        }
    }
    for (n = TERMS - 1; n >= 0; n--) {
        for (column = n + 1; column < TERMS; column++) {
            fit[n] -= matrix[n][column] * fit[column];
        }
        fit[n] /= matrix[n][n];
    }
}

/* Fit a quadratic surface to the background by iteratively reweighted least squares. Pixels above
 * the surface, which may be ink, get smaller weights. */
static void fit_surface(const float *coarse, int width, int height, double fit[TERMS])
{
    int round, x, y, n, m;

    for (round = 0; round < 4; round++) {
        double matrix[TERMS][TERMS] = {{0.0}};
        double right[TERMS] = {0.0};
        double scale = 0.0;
        int count = 0;

        for (y = 0; y < height; y += 2) {
            for (x = 0; x < width; x += 2) {
                if (round > 0) {
                    const double above =
                        coarse[y * width + x] - surface_at(fit, x, y, width, height);

                    scale += above < 0.0 ? -above : above;
                }
                count++;
            }
        }
        scale = scale / count + 0.5;
        for (y = 0; y < height; y += 2) {
            for (x = 0; x < width; x += 2) {
                const double value = coarse[y * width + x];
                double terms[TERMS], weight = 1.0;

                if (round > 0) {
                    const double above = (value - surface_at(fit, x, y, width, height)) / scale;

                    weight = above > 0.0 ? 1.0 / ((1.0 + above * above) * (1.0 + above * above))
                                         : 1.0;
                }
                surface_terms(x, y, width, height, terms);
                for (n = 0; n < TERMS; n++) {
                    for (m = 0; m < TERMS; m++) {
                        matrix[n][m] += weight * terms[n] * terms[m];
                    }
                    right[n] += weight * terms[n] * value;
                }
            }
        }
        for (n = 0; n < TERMS; n++) {
            matrix[n][n] += 1e-2; /* ridge regularization, for frames of one row */
            fit[n] = right[n];
        }
        solve(matrix, fit);
    }
}

/* Write the smallest (sign 1) or largest (sign -1) value within `half` pixels, along lines of
 * `length` pixels. `step` is the distance between pixels, `line_step` between lines. */
static void reduce_lines(const float *in, float *out, int lines, int line_step, int length,
                         int step, int half, float sign)
{
    int line, at, i;

    for (line = 0; line < lines; line++) {
        for (at = 0; at < length; at++) {
            const int last = smaller(at + half, length - 1);
            float best = in[line * line_step + larger(at - half, 0) * step];

            for (i = larger(at - half, 0); i <= last; i++) {
                const float value = in[line * line_step + i * step];

                best = sign * value < sign * best ? value : best;
            }
            out[line * line_step + at * step] = best;
        }
    }
}

/* Morphological opening of a gray image in place: remove bright objects that are narrower than a
 * square of 2 half + 1 pixels. */
static void open_plane(float *plane, float *between, int width, int height, int half)
{
    reduce_lines(plane, between, height, width, width, 1, half, 1.0f);
    reduce_lines(between, plane, width, 1, height, width, half, 1.0f);
    reduce_lines(plane, between, height, width, width, 1, half, -1.0f);
    reduce_lines(between, plane, width, 1, height, width, half, -1.0f);
}

/* Estimate the background light of workspace->plane, and whether ink is darker than the background.
 * Write the light to workspace->light, as wide as the plane and as high as the coarse copy. */
static void estimate_light(digits_preprocess_workspace *workspace, int width, int height,
                           struct ink *ink)
{
    struct digits_light *const light = &workspace->shared.light;
    const int coarse_width = smaller(width, COARSE), coarse_height = smaller(height, COARSE);
    const int half = (int)(WIDEST_STROKE * larger(coarse_width, coarse_height)) / 2;
    double fit[TERMS];
    int x, y, i;

    shrink(BOX, workspace->plane, width, height, light->bytes, light->copy, coarse_width,
           coarse_height);
    for (i = 0; i < coarse_width * coarse_height; i++) {
        light->coarse[i] = light->copy[i];
    }
    ink->dark = lightness(light, coarse_width, coarse_height) <= 0.0;
    for (i = 0; i < coarse_width * coarse_height; i++) {
        light->coarse[i] = ink->dark ? 255.0f - light->coarse[i] : light->coarse[i];
    }
    fit_surface(light->coarse, coarse_width, coarse_height, fit);
    for (y = 0; y < coarse_height; y++) {
        for (x = 0; x < coarse_width; x++) {
            i = y * coarse_width + x;
            light->opened[i] =
                light->coarse[i] - (float)surface_at(fit, x, y, coarse_width, coarse_height);
        }
    }
    open_plane(light->opened, light->between, coarse_width, coarse_height, half);
    open_plane(light->coarse, light->between, coarse_width, coarse_height, half);
    /* Both estimates are at most the background. Take the larger one, which is closer to it. */
    for (y = 0; y < coarse_height; y++) {
        for (x = 0; x < coarse_width; x++) {
            const float surface = (float)surface_at(fit, x, y, coarse_width, coarse_height);

            i = y * coarse_width + x;
            if (surface + light->opened[i] > light->coarse[i]) {
                light->coarse[i] = surface + light->opened[i];
            }
        }
    }
    for (x = 0; x < width; x++) {
        const struct taps taps = taps_at(coarse_width, width, x);

        for (y = 0; y < coarse_height; y++) {
            workspace->light[y * width + x] = apply_taps(&taps, light->coarse + y * coarse_width, 1);
        }
    }
}

/* Write a row of contrast: the difference of each pixel from the light, positive for ink. */
static void contrast_row(const digits_preprocess_workspace *workspace, int width, int height, int y,
                         const struct ink *ink, float *row)
{
    const struct taps taps = taps_at(smaller(height, COARSE), height, y);
    int x;

    for (x = 0; x < width; x++) {
        const float gray = workspace->plane[y * width + x];
        const float light = ink->tight ? 0.0f : apply_taps(&taps, workspace->light + x, width);

        row[x] = (ink->dark ? 255.0f - gray : gray) - light - ink->ground;
    }
}

/* --- Background and ink --- */

/* Return Otsu's threshold, which maximizes the variance between two classes. Source: N. Otsu, "A
 * threshold selection method from gray-level histograms", 1979.
 *
 * steps: histogram with 64 bins from low to high.
 * explained: output; the share of the variance that is between the two classes, 0 to 1. */
static double otsu(const int32_t steps[64], double low, double high, double *explained)
{
    double total = 0.0, moment = 0.0, square = 0.0;
    double below = 0.0, below_moment = 0.0, largest = -1.0;
    int best = 0;
    int n;

    *explained = 0.0;
    if (high <= low) {
        return low;
    }
    for (n = 0; n < 64; n++) {
        total += steps[n];
        moment += (double)steps[n] * n;
        square += (double)steps[n] * n * n;
    }
    for (n = 0; n < 63; n++) {
        double between;

        below += steps[n];
        below_moment += (double)steps[n] * n;
        between = moment / total * below - below_moment;
        between = between * between / (below * (total - below));
        if (between > largest) {
            largest = between;
            best = n;
        }
    }
    *explained = largest / (square / total - moment / total * (moment / total));
    return low + (best + 1) * (high - low) / 64.0;
}

/* Return the index of a value in a histogram with 64 bins from low to high. */
static int step_of(float value, float low, float high)
{
    return high > low ? (int)((value - low) * (float)(63.99 / (high - low))) : 0;
}

/* Sort numbers in ascending order with Shellsort. */
static void sort(float *values, int count)
{
    int distance, n, i;

    for (distance = 1; distance < count / 3; distance = 3 * distance + 1) {
    }
    for (; distance > 0; distance /= 3) {
        for (n = distance; n < count; n++) {
            const float value = values[n];

            for (i = n; i >= distance && values[i - distance] > value; i -= distance) {
                values[i] = values[i - distance];
            }
            values[i] = value;
        }
    }
}

/* Sort every n-th contrast into workspace->shared.samples. Write the number of samples below Otsu's
 * threshold, and the share of the variance that the threshold explains. Return the number of
 * samples. */
static int take_samples(digits_preprocess_workspace *workspace, int width, int height,
                        struct ink *ink, int *below, double *explained)
{
    float *const samples = workspace->shared.samples;
    const int step = larger(width * height / 2048, 1);
    int32_t steps[64] = {0};
    double threshold;
    int count = 0;
    int x, y, i;

    ink->ground = 0.0f;
    for (y = 0; y < height; y++) {
        contrast_row(workspace, width, height, y, ink, workspace->row);
        for (x = 0; x < width; x++) {
            if ((y * width + x) % step == 0) {
                samples[count++] = workspace->row[x];
            }
        }
    }
    sort(samples, count);
    for (i = 0; i < count; i++) {
        steps[step_of(samples[i], samples[0], samples[count - 1])]++;
    }
    threshold = otsu(steps, samples[0], samples[count - 1], explained);
    *below = 0;
    while (*below < count && samples[*below] < threshold) {
        (*below)++;
    }
    return count;
}

/* Measure the background in sorted samples of it: its level is the median; its noise is the distance
 * from the median to the quantile 0.16. */
static void measure_ground(const float *samples, int count, struct ink *ink)
{
    double noise;

    ink->ground = samples[count / 2];
    noise = (double)ink->ground - samples[(int)(0.16 * count)];
    ink->noise_floor = NOISE_FACTOR * noise > MIN_CONTRAST ? NOISE_FACTOR * noise : MIN_CONTRAST;
}

/* Measure the background. If Otsu's threshold separates ink and background clearly, only samples
 * below this threshold are background. It is clear if it explains over 80 % of the variance, with
 * under 60 % of the samples below it. */
static void find_ground(digits_preprocess_workspace *workspace, int width, int height,
                        struct ink *ink)
{
    double explained;
    int below;
    const int count = take_samples(workspace, width, height, ink, &below, &explained);

    measure_ground(workspace->shared.samples,
                   explained > 0.8 && below < 0.6 * count ? below : count, ink);
}

/* Measure background and ink of a tight crop, whose background has one level. Return false if the
 * frame does not consist of two levels. */
static bool find_even_levels(digits_preprocess_workspace *workspace, int width, int height,
                             struct ink *ink)
{
    const float *const samples = workspace->shared.samples;
    int32_t steps[64] = {0};
    double explained, threshold, sum = 0.0;
    int below, first, i;
    const int count = take_samples(workspace, width, height, ink, &below, &explained);

    if (explained < 0.7) {
        return false;
    }
    measure_ground(samples, below, ink);
    for (first = 0; first < count && !(samples[first] > ink->ground + (float)MIN_CONTRAST); first++) {
    }
    if (first == count) {
        return false;
    }
    for (i = first; i < count; i++) {
        steps[step_of(samples[i], samples[first], samples[count - 1])]++;
    }
    threshold = otsu(steps, samples[first], samples[count - 1], &explained);
    while (samples[first] < threshold) {
        first++;
    }
    for (i = first; i < count; i++) {
        sum += samples[i];
    }
    ink->level = sum / (count - first) - (double)ink->ground;
    return true;
}

/* Compute the ink's level: the mean contrast above Otsu's threshold of all contrast that is not
 * noise. Return false if the frame is blank. */
static bool find_level(digits_preprocess_workspace *workspace, int width, int height,
                       struct ink *ink)
{
    float *const row = workspace->row;
    int32_t steps[64] = {0};
    float low = 0.0f, high = 0.0f;
    double threshold = 0.0, explained, sum = 0.0;
    int count = 0;
    int pass, x, y;

    for (pass = 0; pass < 3; pass++) {
        for (y = 0; y < height; y++) {
            contrast_row(workspace, width, height, y, ink, row);
            for (x = 0; x < width; x++) {
                if (!(row[x] > ink->noise_floor)) {
                    continue;
                }
                if (pass == 0) { /* the range */
                    low = count == 0 || row[x] < low ? row[x] : low;
                    high = count == 0 || row[x] > high ? row[x] : high;
                    count++;
                } else if (pass == 1) { /* the histogram */
                    steps[step_of(row[x], low, high)]++;
                } else if (row[x] >= threshold) { /* the mean */
                    sum += row[x];
                    count++;
                }
            }
        }
        if (pass == 0 && count < MIN_AREA) {
            return false;
        }
        if (pass == 1) {
            threshold = otsu(steps, low, high, &explained);
            count = 0;
        }
    }
    ink->level = sum / count;
    return true;
}

/* --- Ruled lines --- */

#define INK 1  /* flag: the pixel is ink */
#define LINE 2 /* flag: the pixel is part of a ruled line */

/* An image of flags, which can be transposed. Pixel x of row y is at y * row_step + x * step. */
struct flags {
    uint16_t *pixels;
    int height, width;
    int row_step, step;
};

/* Return a pointer to the flags of a pixel. */
static uint16_t *flag_at(const struct flags *picture, int x, int y)
{
    return &picture->pixels[y * picture->row_step + x * picture->step];
}

/* Return whether a pixel has ink at most two rows away. This joins slanted and broken lines. */
static bool is_thick(const struct flags *picture, int x, int y)
{
    const int last = smaller(y + 2, picture->height - 1);
    int row;

    for (row = larger(y - 2, 0); row <= last; row++) {
        if (*flag_at(picture, x, row) & INK) {
            return true;
        }
    }
    return false;
}

/* Mark the pixels from start to end of a row as LINE if they are over 40 % of the longer side. */
static void mark_line(const struct flags *picture, int y, int start, int end)
{
    int x;

    for (x = start; end - start > 0.4 * larger(picture->height, picture->width) && x < end; x++) {
        *flag_at(picture, x, y) |= LINE;
    }
}

/* Mark long horizontal runs of ink. Gaps of up to 10 % of the width do not end a run. Return
 * whether a marked line reaches the left or the right side. */
static bool mark_lines(const struct flags *picture, int left, int right)
{
    const int width = picture->width;
    bool reaches = false;
    int most = 0;
    int x, y;

    for (y = 0; y < picture->height; y++) {
        int count = 0;

        for (x = 0; x < width; x++) {
            count += is_thick(picture, x, y);
        }
        most = larger(most, count);
    }
    if (most < 0.25 * width) { /* no row has enough ink for a line */
        return false;
    }
    for (y = 0; y < picture->height; y++) {
        int start = 0, end = 0;

        for (x = 0; x < width; x++) {
            if (!is_thick(picture, x, y)) {
                continue;
            }
            if (end == 0 || x - end > 0.1 * width) {
                mark_line(picture, y, start, end);
                start = x;
            }
            end = x + 1;
        }
        mark_line(picture, y, start, end);
        for (x = 0; x < width; x++) {
            reaches = reaches || ((*flag_at(picture, x, y) & LINE) && (x <= left || x >= right));
        }
    }
    return reaches;
}

/* Visit all vertical runs of ink whose middle is on a line. If `counts` is not 0, count the runs of
 * each length. Otherwise clear the runs of at most `longest` pixels. Return the number of visited
 * runs. */
static int visit_runs(const struct flags *picture, int32_t *counts, double longest)
{
    int visited = 0;
    int x, y, start;

    for (x = 0; x < picture->width; x++) {
        for (y = 0; y < picture->height; y++) {
            if (!(*flag_at(picture, x, y) & INK)) {
                continue;
            }
            for (start = y; y < picture->height && (*flag_at(picture, x, y) & INK); y++) {
            }
            if (!(*flag_at(picture, x, (start + y) / 2) & LINE)) {
                continue;
            }
            visited++;
            if (counts) {
                counts[y - start]++;
            } else if (y - start <= longest) {
                int row;

                for (row = start; row < y; row++) {
                    *flag_at(picture, x, row) &= LINE;
                }
            }
        }
    }
    return visited;
}

/* Return the length of the run with index `rank`, if runs are sorted by length. */
static int length_of_rank(const int32_t *counts, int rank)
{
    int length = 0;

    while (rank >= counts[length]) {
        rank -= counts[length++];
    }
    return length;
}

/* Remove thin lines along the rows that begin at a side of the frame. Strokes that cross a line are
 * longer than the line is thick, and are kept. */
static void remove_ruled_lines(const struct flags *picture, int32_t counts[193])
{
    /* A line must reach the outer 4 % of the width. */
    const int left = (int)(0.04 * picture->width);
    const int right = round_up((1.0 - 0.04) * (picture->width - 1));
    const int size = picture->height * picture->width;
    bool at_side = false;
    int x, y, i, runs;

    for (y = 0; y < picture->height; y++) {
        for (x = 0; x < picture->width; x++) {
            at_side = at_side || ((*flag_at(picture, x, y) & INK) && (x <= left || x >= right));
        }
    }
    if (!at_side || smaller(picture->height, picture->width) < 32) {
        return;
    }
    if (mark_lines(picture, left, right)) {
        for (i = 0; i < 193; i++) {
            counts[i] = 0;
        }
        runs = visit_runs(picture, counts, 0.0);
        if (runs > 0) {
            const double thickness = (length_of_rank(counts, (runs - 1) / 2)
                                      + length_of_rank(counts, runs / 2)) / 2.0;

            /* Only lines thinner than 2 % of the longer side are ruled lines. */
            if (thickness <= 0.02 * larger(picture->height, picture->width)) {
                visit_runs(picture, 0, 1.5 * thickness + 1.0);
            }
        }
    }
    for (i = 0; i < size; i++) {
        picture->pixels[i] &= INK;
    }
}

/* --- Segmentation of the digit --- */

/* Find and measure the 8-connected components of the ink. They are numbered from 1, in the order of
 * their first pixels. Return the number of components, or -1 if there are more than
 * DIGITS_MAX_COMPONENTS. */
static int find_components(digits_preprocess_workspace *workspace, int width, int height,
                           const struct ink *ink)
{
    /* Ink must exceed both thresholds; in a tight crop, only that of the stroke. */
    const double stroke = STROKE_LEVEL * ink->level, noise = 0.75 * ink->noise_floor;
    uint16_t *const labels = workspace->shared.labels;
    const struct flags upright = {labels, height, width, width, 1};
    const struct flags lying = {labels, width, height, 1, width};
    float *const row = workspace->row;
    const int size = width * height;
    bool changed = true;
    int count = 0;
    int i, pass;

    for (i = 0; i < size; i++) {
        if (i % width == 0) {
            contrast_row(workspace, width, height, i / width, ink, row);
        }
        labels[i] = row[i % width] > (stroke > noise || ink->tight ? stroke : noise) ? INK : 0;
    }
    if (!ink->tight) {
        remove_ruled_lines(&upright, workspace->counts);
        remove_ruled_lines(&lying, workspace->counts);
    }

    /* Label propagation: each pixel begins with its own label. It takes the lowest label of its
     * neighbors, in forward and backward passes, until no label changes. */
    for (i = 0; i < size; i++) {
        labels[i] = (uint16_t)(labels[i] ? i + 1 : 0);
    }
    while (changed) {
        changed = false;
        for (pass = 0; pass < 2; pass++) {
            for (i = 0; i < size; i++) {
                const int at = pass == 0 ? i : size - 1 - i;
                const int x = at % width, y = at / width;
                int down, across;

                for (down = y - 1; labels[at] != 0 && down <= y + 1; down++) {
                    for (across = x - 1; across <= x + 1; across++) {
                        if (down >= 0 && down < height && across >= 0 && across < width) {
                            const uint16_t other = labels[down * width + across];

                            if (other != 0 && other < labels[at]) {
                                labels[at] = other;
                                changed = true;
                            }
                        }
                    }
                }
            }
        }
    }
    for (i = 0; i < size; i++) {
        struct digits_component *component;
        const int x = i % width, y = i / width;

        if (x == 0) {
            contrast_row(workspace, width, height, y, ink, row);
        }
        if (labels[i] == 0) {
            continue;
        }
        if (labels[i] == i + 1) { /* the first pixel of a component */
            if (count == DIGITS_MAX_COMPONENTS) {
                return -1;
            }
            component = &workspace->components[count++];
            *component = (struct digits_component){.left = x, .top = y};
            labels[i] = (uint16_t)count;
        } else {
            labels[i] = labels[labels[i] - 1];
        }
        component = &workspace->components[labels[i] - 1];
        component->left = smaller(component->left, x);
        component->right = larger(component->right, x + 1);
        component->bottom = y + 1;
        component->area++;
        component->mass += row[x];
    }
    return count;
}

/* Return the number of sides of the frame that a component touches. */
static int borders(const struct digits_component *component, int width, int height)
{
    return (component->left == 0) + (component->top == 0) + (component->right == width)
           + (component->bottom == height);
}

/* Return the larger one of the horizontal and vertical gaps between two boxes, in pixels. The gap
 * of overlapping boxes is negative. */
static int gap(const struct digits_component *one, const struct ink *other)
{
    const int across = larger(one->left - other->right, other->left - one->right);
    const int down = larger(one->top - other->bottom, other->top - one->bottom);

    return larger(across, down);
}

/* Return whether a component overlaps a box, or is above or below it; not if it surrounds the box. */
static bool is_stacked(const struct digits_component *one, const struct ink *box)
{
    const int across = smaller(one->right, box->right) - larger(one->left, box->left);
    const int down = smaller(one->bottom, box->bottom) - larger(one->top, box->top);
    const int width = smaller(one->right - one->left, box->right - box->left);
    const bool surrounds = one->left <= box->left && one->top <= box->top
                           && one->right >= box->right && one->bottom >= box->bottom;

    return !surrounds && ((across > 0 && down > 0) || across >= 0.5 * width);
}

/* Choose the main component of the digit and components close to it. Set the bounding box of all
 * chosen components. Return false if no component qualifies. */
static bool choose(digits_preprocess_workspace *workspace, int count, int width, int height,
                   struct ink *ink)
{
    struct digits_component *const all = workspace->components;
    struct digits_component *chosen = all;
    bool chosen_is_corner = false;
    double best = -1.0;
    int n, round;

    for (n = 0; n < count; n++) {
        const double x = (all[n].left + all[n].right) / 2.0 / width - 0.5;
        const double y = (all[n].top + all[n].bottom) / 2.0 / height - 0.5;
        const int area = (all[n].right - all[n].left) * (all[n].bottom - all[n].top);
        const int sides = ink->tight ? 0 : borders(&all[n], width, height);
        const bool corner = sides >= 2 && area < 0.25 * height * width;
        double score = all[n].mass * exponential(-4.0 * (x * x + y * y));

        /* Components at the border of the frame, and above all at a corner, are rarely digits. */
        score *= (sides > 0 ? 0.2 : 1.0) * (corner ? 0.1 : 1.0);
        if (score > best) {
            best = score;
            chosen = &all[n];
            chosen_is_corner = corner;
        }
    }
    if (chosen->area < MIN_AREA || chosen_is_corner) {
        return false;
    }
    chosen->kept = true;
    ink->left = chosen->left;
    ink->top = chosen->top;
    ink->right = chosen->right;
    ink->bottom = chosen->bottom;
    for (round = 0; round < 3; round++) {
        const struct ink before = *ink;
        /* A piece of the digit is closer than 15 % of the digit's size. */
        const double reach =
            0.15 * larger(before.right - before.left, before.bottom - before.top);

        for (n = 0; n < count; n++) {
            const int sides = borders(&all[n], width, height);
            /* A smaller mass is noise. */
            const bool near = all[n].mass > 0.03 * chosen->mass
                              && (ink->tight || sides == 0 || borders(chosen, width, height) > 0
                                  || (sides == 1 && is_stacked(&all[n], &before)));

            if (near && gap(&all[n], &before) <= reach) {
                all[n].kept = true;
                ink->left = smaller(ink->left, all[n].left);
                ink->top = smaller(ink->top, all[n].top);
                ink->right = larger(ink->right, all[n].right);
                ink->bottom = larger(ink->bottom, all[n].bottom);
            }
        }
    }
    return true;
}

/* --- Tight crops; runtime/preprocess/tight_crop.py is the Python version --- */

/* Return whether the frame may be a tight crop with this polarity: at most two of its corners are
 * ink, and there is ink near two opposite sides. */
static bool may_be_tight(const uint8_t *plane, int width, int height, bool dark)
{
    const int corners[4] = {0, width - 1, (height - 1) * width, height * width - 1};
    const int down = (int)(0.1 * height), across = (int)(0.1 * width);
    int low = 255, high = 0, count = 0;
    bool near[4] = {false, false, false, false}; /* top, bottom, left, right */
    double limit;
    int x, y, i;

    for (i = 0; i < width * height; i++) {
        low = smaller(low, plane[i]);
        high = larger(high, plane[i]);
    }
    if (high - low < 40) {
        return false;
    }
    for (i = 0; i < 4; i++) {
        count += (2 * plane[corners[i]] < low + high) == dark;
    }
    limit = dark ? high - 0.3 * (high - low) : low + 0.3 * (high - low);
    for (y = 0; y < height; y++) {
        for (x = 0; x < width; x++) {
            const bool is_ink =
                dark ? plane[y * width + x] < limit : plane[y * width + x] > limit;

            near[0] = near[0] || (is_ink && y == down);
            near[1] = near[1] || (is_ink && y == height - 1 - down);
            near[2] = near[2] || (is_ink && x == across);
            near[3] = near[3] || (is_ink && x == width - 1 - across);
        }
    }
    return count <= 2 && ((near[0] && near[1]) || (near[2] && near[3]));
}

/* Return whether a line of `length` pixels is ink to at least 90 %. */
static bool is_full(const uint16_t *labels, int step, int length)
{
    int count = 0;
    int i;

    for (i = 0; i < length; i++) {
        count += labels[i * step] != 0;
    }
    return (double)count / length >= 0.9;
}

/* Return how many sides of a component's box are covered with ink: 2 or more are a sheet or frame. */
static int full_sides(const uint16_t *labels, int stride, const struct digits_component *box)
{
    const int width = box->right - box->left, height = box->bottom - box->top;
    const uint16_t *const first = labels + box->top * stride + box->left;
    bool full[4] = {false, false, false, false};
    int i;

    for (i = 0; i < (int)(0.03 * height) + 1; i++) {
        full[0] = full[0] || is_full(first + i * stride, 1, width);
        full[1] = full[1] || is_full(first + (height - 1 - i) * stride, 1, width);
    }
    for (i = 0; i < (int)(0.03 * width) + 1; i++) {
        full[2] = full[2] || is_full(first + i, stride, height);
        full[3] = full[3] || is_full(first + width - 1 - i, stride, height);
    }
    return full[0] + full[1] + full[2] + full[3];
}

/* Return whether the heaviest component is a digit that fills the frame. */
static bool is_tight(const digits_preprocess_workspace *workspace, int components, int width,
                     int height, const struct ink *ink)
{
    const uint16_t *const labels = workspace->shared.labels;
    const struct digits_component *main = workspace->components;
    const double down = 0.1 * height, across = 0.1 * width;
    const bool even = ink->noise_floor <= 1.3 * ink->level;
    const bool corners[4] = {labels[0] != 0, labels[width - 1] != 0,
                             labels[(height - 1) * width] != 0, labels[height * width - 1] != 0};
    const int count = corners[0] + corners[1] + corners[2] + corners[3];
    int row_runs = 0, column_runs = 0;
    double mass = 0.0;
    int x, y, n;

    for (n = 0; n < components; n++) {
        mass += workspace->components[n].mass;
        main = workspace->components[n].mass > main->mass ? &workspace->components[n] : main;
    }
    if (!(main->top <= down && main->bottom >= height - down)
        && !(main->left <= across && main->right >= width - across
             && main->bottom - main->top >= 0.4 * width)) {
        return false;
    }
    if (count > 2 || main->mass < (count < 2 ? 0.6 : 0.95) * mass) {
        return false;
    }
    for (y = 0; y < height; y++) {
        for (x = 0; x < width; x++) {
            const uint16_t *const label = labels + y * width + x;

            row_runs += *label != 0 && (x == 0 || label[-1] == 0);
            column_runs += *label != 0 && y > 0 && label[-width] == 0;
        }
    }
    if (row_runs > 3.0 * height || column_runs > 3.0 * width) { /* a grid */
        return false;
    }
    if (width <= 0.5 * height) {
        return even || count < 2;
    }
    if (count == 2 && corners[0] != corners[3]) { /* two corners at one side */
        return false;
    }
    return even && full_sides(labels, width, main) < 2;
}

/* Return whether the chosen ink does not have the shape of a digit: it is filled instead of drawn, or
 * a piece of it is in a hole of the main component. */
static bool is_implausible(const digits_preprocess_workspace *workspace, int components, int width,
                           const struct ink *ink)
{
    const struct digits_component *const all = workspace->components;
    const uint16_t *const labels = workspace->shared.labels;
    const int ink_width = ink->right - ink->left, ink_height = ink->bottom - ink->top;
    int area = 0, steps = 0, main = 0;
    double outline;
    int x, y, n;

    for (y = ink->top - 1; y < ink->bottom; y++) {
        for (x = ink->left - 1; x < ink->right; x++) {
            bool kept[3] = {false, false, false}; /* here, to the right, below */

            for (n = 0; n < 3; n++) {
                const int column = x + (n == 1), row = y + (n == 2);

                if (row >= ink->top && row < ink->bottom && column >= ink->left
                    && column < ink->right && labels[row * width + column] != 0) {
                    kept[n] = all[labels[row * width + column] - 1].kept;
                }
            }
            area += kept[0];
            steps += (kept[0] != kept[1]) + (kept[0] != kept[2]);
        }
    }
    outline = 3.141592653589793 / 4.0 * steps;
    if (2 * area > 0.42 * larger(ink_width, ink_height) * (outline > 1.0 ? outline : 1.0)) {
        return true;
    }
    for (n = 0; n < components; n++) {
        main = all[n].mass > all[main].mass ? n : main;
    }
    for (n = 0; n < components; n++) {
        const int middle_x = (all[n].left + all[n].right) / 2;
        const int middle_y = (all[n].top + all[n].bottom) / 2;
        bool left = false, right = false, above = false, below = false;

        if (!all[n].kept || !(all[n].mass > 0.03 * all[main].mass)) {
            continue;
        }
        for (x = ink->left; x < ink->right; x++) {
            const bool is_main = labels[middle_y * width + x] == main + 1;

            left = left || (is_main && x < all[n].left);
            right = right || (is_main && x >= all[n].right);
        }
        for (y = ink->top; y < ink->bottom; y++) {
            const bool is_main = labels[y * width + middle_x] == main + 1;

            above = above || (is_main && y < all[n].top);
            below = below || (is_main && y >= all[n].bottom);
        }
        if (left && right && above && below) {
            return true;
        }
    }
    return false;
}

/* Find a digit that fills the frame. Return false if there is none. */
static bool find_tight_digit(digits_preprocess_workspace *workspace, int width, int height,
                             struct ink *ink)
{
    int polarity, count;

    ink->tight = true;
    for (polarity = 0; polarity < 2; polarity++) {
        ink->dark = polarity == 0;
        if (!may_be_tight(workspace->plane, width, height, ink->dark)
            || !find_even_levels(workspace, width, height, ink)) {
            continue;
        }
        count = find_components(workspace, width, height, ink);
        if (count > 0 && is_tight(workspace, count, width, height, ink)
            && choose(workspace, count, width, height, ink)
            && !is_implausible(workspace, count, width, ink)) {
            return true;
        }
    }
    ink->tight = false;
    return false;
}

/* --- Ink of the digit --- */

/* Write a row of the digit's ink, from 0 to 1. y is relative to the top of the bounding box. */
static void ink_row(const digits_preprocess_workspace *workspace, int width, int height, int y,
                    const struct ink *ink, float *row)
{
    const uint16_t *const labels = workspace->shared.labels + (ink->top + y) * width;
    int x;

    contrast_row(workspace, width, height, ink->top + y, ink, row);
    for (x = ink->left; x < ink->right; x++) {
        const bool kept = labels[x] != 0 && workspace->components[labels[x] - 1].kept;
        const float value = row[x] / (float)ink->level;

        row[x - ink->left] = !kept ? 0.0f : value < 1.0f ? value : 1.0f;
    }
}

/* Return the number of pixels by which strokes must be widened. They must be at least THIN_STROKE
 * wide after scaling the digit to 20 pixels. The mean width of a stroke is its area divided by half
 * its outline. By Crofton's formula, the outline is pi / 4 of the number of changes between ink and
 * background along rows and columns. */
static int missing_width(digits_preprocess_workspace *workspace, int width, int height,
                         const struct ink *ink)
{
    const int ink_width = ink->right - ink->left, ink_height = ink->bottom - ink->top;
    const int longest = larger(ink_width, ink_height);
    float *row = workspace->row, *above = workspace->rows[0];
    int area = 0, steps = 0;
    double outline;
    int x, y;

    for (y = 0; y < ink_height; y++) {
        ink_row(workspace, width, height, y, ink, row);
        for (x = 0; x < ink_width; x++) {
            area += row[x] > 0.5f;
            steps += x > 0 && (row[x] > 0.5f) != (row[x - 1] > 0.5f);
            steps += y > 0 && (row[x] > 0.5f) != (above[x] > 0.5f);
        }
        for (x = 0; x < ink_width; x++) {
            above[x] = row[x];
        }
    }
    outline = 3.141592653589793 / 4.0 * steps;
    outline = outline > 1.0 ? outline : 1.0;
    return within((int)(THIN_STROKE * longest / 20.0 - 2 * area / outline + 0.5), longest / 8);
}

/* Scale the ink to 20 x 20 cells, and write the mean of each cell. Before, strokes are widened by
 * `extra` pixels: each pixel becomes the maximum of itself and the `extra` pixels to the left and
 * above. */
static void shrink_ink(digits_preprocess_workspace *workspace, int width, int height,
                       const struct ink *ink, int extra)
{
    const int ink_width = ink->right - ink->left, ink_height = ink->bottom - ink->top;
    const int wide = ink_width + extra, high = ink_height + extra;
    float *const line = workspace->row;
    double *const cells = workspace->cells;
    int x, y, i;

    for (i = 0; i < 20 * 20; i++) {
        cells[i] = 0.0;
    }
    for (y = 0; y < high; y++) {
        float *const widened = workspace->rows[y % (extra + 1)]; /* of the last rows */

        for (x = 0; x < wide; x++) {
            widened[x] = 0.0f;
        }
        if (y < ink_height) {
            ink_row(workspace, width, height, y, ink, line);
            for (x = 0; x < ink_width; x++) {
                for (i = 0; i <= extra; i++) {
                    widened[x + i] = line[x] > widened[x + i] ? line[x] : widened[x + i];
                }
            }
        }
        for (x = 0; x < wide; x++) {
            line[x] = 0.0f;
            for (i = 0; i <= smaller(extra, y); i++) {
                const float value = workspace->rows[i][x];

                line[x] = value > line[x] ? value : line[x];
            }
        }
        add_to_cells(line, y, wide, high, cells);
    }
}

/* Find the digit in workspace->plane. Return DIGITS_FOUND, DIGITS_BLANK or DIGITS_CLUTTERED. */
static int find_digit(digits_preprocess_workspace *workspace, int width, int height,
                      struct ink *ink)
{
    int count;

    if (find_tight_digit(workspace, width, height, ink)) {
        return DIGITS_FOUND;
    }
    estimate_light(workspace, width, height, ink);
    find_ground(workspace, width, height, ink);
    if (!find_level(workspace, width, height, ink)) {
        return DIGITS_BLANK;
    }
    count = find_components(workspace, width, height, ink);
    if (count < 0) {
        return DIGITS_CLUTTERED;
    }
    return count > 0 && choose(workspace, count, width, height, ink) ? DIGITS_FOUND : DIGITS_BLANK;
}

/* Find a digit in the original frame if it is small in the copy. Crop the frame to the digit with a
 * margin of half its size. Set copy_width and copy_height to the size of the crop. Return
 * DIGITS_FOUND, DIGITS_BLANK or DIGITS_CLUTTERED. */
static int look_closer(digits_preprocess_workspace *workspace, const uint8_t *gray, int width,
                       int height, const struct ink *small, int *copy_width, int *copy_height,
                       struct ink *ink)
{
    const double x_scale = (double)width / *copy_width, y_scale = (double)height / *copy_height;
    const int left = (int)(small->left * x_scale), right = round_up(small->right * x_scale);
    const int top = (int)(small->top * y_scale), bottom = round_up(small->bottom * y_scale);
    const int margin = larger(right - left, bottom - top) / 2;
    const int first_x = within(left - margin, width), end_x = within(right + margin + 1, width);
    const int first_y = within(top - margin, height), end_y = within(bottom + margin + 1, height);
    int x, y, i = 0;

    for (y = first_y; y < end_y; y++) {
        for (x = first_x; x < end_x; x++) {
            workspace->plane[i++] = gray[y * width + x];
        }
    }
    *copy_width = end_x - first_x;
    *copy_height = end_y - first_y;
    return find_digit(workspace, *copy_width, *copy_height, ink);
}

int digits_preprocess(const uint8_t *gray, int width, int height,
                      digits_preprocess_workspace *workspace, uint8_t pixels[DIGITS_PIXELS])
{
    const int longest = larger(width, height);
    int copy_width, copy_height, status, extra, i;
    struct ink ink;

    for (i = 0; i < DIGITS_PIXELS; i++) {
        pixels[i] = 0;
    }
    if (width < 1 || height < 1 || longest < DIGITS_MIN_SIDE || longest > DIGITS_MAX_SIDE) {
        return DIGITS_WRONG_SIZE;
    }
    copy_frame(gray, width, height, workspace, &copy_width, &copy_height);
    status = find_digit(workspace, copy_width, copy_height, &ink);
    if (status != DIGITS_FOUND) {
        return status;
    }
    extra = missing_width(workspace, copy_width, copy_height, &ink);
    if (longest > LONGEST
        && larger(ink.right - ink.left, ink.bottom - ink.top) + extra < SMALLEST) {
        const bool dark = ink.dark;

        status = look_closer(workspace, gray, width, height, &ink, &copy_width, &copy_height, &ink);
        if (status != DIGITS_FOUND || ink.dark != dark) { /* use the copy instead */
            copy_frame(gray, width, height, workspace, &copy_width, &copy_height);
            find_digit(workspace, copy_width, copy_height, &ink);
        }
        extra = missing_width(workspace, copy_width, copy_height, &ink);
    }
    shrink_ink(workspace, copy_width, copy_height, &ink, extra);
    place_cells(workspace->cells, pixels);
    return DIGITS_FOUND;
}
