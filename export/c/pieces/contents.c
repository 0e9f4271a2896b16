/* In this order: requantization, the layers, their weights, the network (run_network), softmax,
 * rejection, the golden images, digits_classify, digits_selftest, and for models of
 * 28 x 28 gray pixels digits_preprocess. */
