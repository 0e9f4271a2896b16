/* Contents of this file, in this order: requantization, functions of the layers, weights, the
 * network (run_network), softmax, rejection, golden images, digits_classify, digits_selftest.
 * A model of 28 x 28 gray pixels also has digits_preprocess, at the end. */
