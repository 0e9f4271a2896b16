#ifdef DIGIT_EDGE_KERNELS
/* The engine "native" of digit-edge compiles this file as a library. It defines the name of a file
 * with faster versions of the functions above. */
#include DIGIT_EDGE_KERNELS
#endif
