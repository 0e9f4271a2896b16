
#define DIGITS_MIN_SIDE 32  /* pixels of the longer side of a frame */
#define DIGITS_MAX_SIDE 320 /* pixels of either side */
#define DIGITS_MAX_COMPONENTS 64

/* A part of a frame's ink that hangs together. */
struct digits_component {
    int left, top, right, bottom; /* right and bottom are outside */
    int area;                     /* pixels */
    double mass;                  /* sum of the contrast */
    bool kept;                    /* it belongs to the digit */
};

/* What light is estimated with: copies of the frame of 48 x 48 pixels at most. */
struct digits_light {
    float coarse[48 * 48];
    float opened[48 * 48];
    float between[48 * 48];
    uint8_t copy[48 * 48];
    uint8_t bytes[192 * 48];
};

/* RAM that digits_preprocess needs; it may be used for something else between two calls. */
typedef struct {
    uint8_t plane[192 * 192]; /* a copy of the frame */
    union {                   /* one after the other */
        uint8_t bytes[320 * 192];
        struct digits_light light;
        float samples[4096];
        uint16_t labels[192 * 192]; /* the component of each pixel */
    } shared;
    float light[48 * 192];
    float row[216];
    float rows[25][216]; /* rows of the digit's ink, its strokes widened */
    double cells[20 * 20];
    int32_t counts[193]; /* runs of ink by their length */
    struct digits_component components[DIGITS_MAX_COMPONENTS];
} digits_preprocess_workspace;

enum {
    DIGITS_FOUND,
    DIGITS_BLANK,     /* there is no ink */
    DIGITS_CLUTTERED, /* there is too much on the picture: the Python runtime may read it */
    DIGITS_WRONG_SIZE /* see DIGITS_MIN_SIDE and DIGITS_MAX_SIDE */
};

/* Find the digit in a gray frame, light or dark, and bring it into MNIST's form: 20 x 20 around its
 * box, its center of mass in the middle of 28 x 28.
 *
 * Return DIGITS_FOUND; otherwise pixels are all 0, which digits_classify rejects. Pixels are those
 * of the Python runtime, give or take its float32 rounding. Colors are not told apart, and
 * implausible shapes are not rejected: for these the Python runtime is needed. */
int digits_preprocess(const uint8_t *gray, int width, int height,
                      digits_preprocess_workspace *workspace, uint8_t pixels[DIGITS_PIXELS]);
