/* --- Conversion to MNIST's format; runtime/preprocess/mnist_format.py is the Python version --- */

/* Return the share of a pixel that a cell from `start` to `end` covers, 0 to 1. */
static double covered(int pixel, double start, double end)
{
    const double first = start > pixel ? start : pixel;
    const double last = end < pixel + 1 ? end : pixel + 1;

    return last > first ? last - first : 0.0;
}

/* Add row `y` of an image of width x height to the sums of 20 x 20 cells. The image is centered in
 * a square of at least 10 x 10 pixels, which is divided into the cells. */
static void add_to_cells(const float *line, int y, int width, int height, double *cells)
{
    const int longest = width > height ? width : height;
    const int side = longest > 10 ? longest : 10;
    const int left = (side - width) / 2, top = (side - height) / 2;
    const double cell = side / 20.0;
    int row, column, x;

    for (row = 0; row < 20; row++) {
        const double share = covered(y, row * cell - top, (row + 1) * cell - top);

        for (column = 0; share > 0.0 && column < 20; column++) {
            const double start = column * cell - left, end = start + cell;
            double sum = 0.0;

            for (x = start > 0.0 ? (int)start : 0; x < width && x < end; x++) {
                sum += line[x] * covered(x, start, end);
            }
            cells[row * 20 + column] += sum * share / (cell * cell);
        }
    }
}

/* Scale the maximum of the cells to 255. Move the center of mass to the center of 28 x 28 pixels.
 * Source: C. Yadav and L. Bottou, "Cold Case: The Lost MNIST Digits", 2019. */
static void place_cells(const double *cells, uint8_t *pixels)
{
    double peak = 0.0, mass = 0.0, x_moment = 0.0, y_moment = 0.0;
    int row, column, down, right, i;

    for (row = 0; row < 20; row++) {
        for (column = 0; column < 20; column++) {
            const double cell = cells[row * 20 + column];

            peak = cell > peak ? cell : peak;
            mass += cell;
            x_moment += (column + 0.5) * cell;
            y_moment += (row + 0.5) * cell;
        }
    }
    /* In single precision, the center of a symmetric digit is exactly in or between cells. */
    down = (int)(15.0 - (float)(y_moment / mass));
    right = (int)(15.0 - (float)(x_moment / mass));
    for (i = 0; i < 20 * 20; i++) {
        const int y = i / 20 + down, x = i % 20 + right;

        if (y >= 0 && y < 28 && x >= 0 && x < 28) {
            /* Round up fractions of 0.499 or more: they may be halves with rounding errors. */
            pixels[y * 28 + x] = (uint8_t)(cells[i] * (255.0 / peak) + 0.5 + 1.0 / 1024.0);
        }
    }
}
