
#define DIGITS_MIN_SIDE 32  /* pixels; a frame whose longer side is shorter is rejected */
#define DIGITS_MAX_SIDE 320 /* pixels; a frame whose longer side is longer is rejected */
/* A frame with more connected components of ink is rejected as DIGITS_CLUTTERED. */
#define DIGITS_MAX_COMPONENTS 64

/* A connected component of the ink in a frame. */
struct digits_component {
    int left, top, right, bottom; /* pixels; right and bottom are exclusive */
    int area;                     /* pixels */
    double mass;                  /* sum of the contrast of its pixels, in gray levels */
    bool kept;                    /* the component belongs to the digit */
};

/* Buffers for estimating the background light, on copies of the frame of at most 48 x 48 pixels. */
struct digits_light {
    float coarse[48 * 48];
    float opened[48 * 48];
    float between[48 * 48];
    uint8_t copy[48 * 48];
    uint8_t bytes[192 * 48];
};

/* RAM that digits_preprocess needs. Between two calls it can be used otherwise. */
typedef struct {
    uint8_t plane[192 * 192]; /* a copy of the frame */
    union {                   /* these buffers are used one after the other */
        uint8_t bytes[320 * 192];
        struct digits_light light;
        float samples[4096];
        uint16_t labels[192 * 192]; /* the component of each pixel */
    } shared;
    float light[48 * 192];
    float row[216];
    float rows[25][216]; /* rows of the digit's ink, with widened strokes */
    double cells[20 * 20];
    int32_t counts[193]; /* number of runs of ink with each length */
    struct digits_component components[DIGITS_MAX_COMPONENTS];
} digits_preprocess_workspace;

enum {
    DIGITS_FOUND,     /* a digit was found */
    DIGITS_BLANK,     /* the frame contains no ink */
    DIGITS_CLUTTERED, /* too many components; use the Python runtime for this frame */
    DIGITS_WRONG_SIZE /* see DIGITS_MIN_SIDE and DIGITS_MAX_SIDE */
};

/* Find a digit in a gray frame and convert it to MNIST's format. The digit is scaled to 20 x 20
 * pixels, and its center of mass is moved to the center of 28 x 28 pixels. Ink may be lighter or
 * darker than the background.
 *
 * gray: width * height bytes, row by row.
 *
 * Return DIGITS_FOUND if a digit was found. Otherwise return another value of this enum. All
 * pixels are then 0, and digits_classify rejects them. Except for rounding, the pixels equal those of
 * the Python runtime. Colors, windows of a counter and implausible shapes are not handled; use the
 * Python runtime for these. */
int digits_preprocess(const uint8_t *gray, int width, int height,
                      digits_preprocess_workspace *workspace, uint8_t pixels[DIGITS_PIXELS]);
