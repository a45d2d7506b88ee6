r"""Softmax and cross-entropy: from the scores of C classes to probabilities, and from there to a loss.

For one example with logits :math:`z_1, \dots, z_C` and target probabilities :math:`y_1, \dots, y_C` (1 for the right
class and 0 elsewhere, when there is a right class):

.. math::
    p_j = \frac{e^{z_j / T}}{\sum_k e^{z_k / T}}, \qquad
    L = -\sum_j y_j \log p_j, \qquad
    \frac{\partial L}{\partial z_j} = p_j - y_j \quad (T = 1) .

:math:`T` is the temperature: towards 0 softmax becomes `hardmax`, which gives everything to the largest logit;
towards infinity all classes become equal. Adding a number to all logits changes nothing, and that is how everything
here is computed, with :math:`m = \max_k z_k`:

.. math::
    p_j = \frac{e^{z_j - m}}{\sum_k e^{z_k - m}}, \qquad
    \log p_j = z_j - m - \log \sum_k e^{z_k - m}, \qquad
    \mathrm{logsumexp}(z) = m + \log \sum_k e^{z_k - m} .

No exponential overflows, and the log of a probability that rounds to 0 is still right. Label smoothing replaces y by
:math:`(1 - \alpha) y + \alpha / C`.

Conventions, the same in `numpy.py`, `tensorflow.py` and `torch.py`:

* `z` is `(..., classes)`, or has its classes along `axis`, which is 1 for images as `(N, C, height, width)`. All
  other axes are kept apart. The result has the dtype of `z`; float16 and bfloat16 are reduced in float32.
* `y` holds class indices, whole numbers in [0, C) in the shape of `z` without its class axis, or probabilities,
  floating point in the shape of `z`. They are taken as they come: rows that do not sum to 1 are not rescaled.
* `reduction` is "mean" over all labels, "sum", or "none", which keeps the shape of the labels. A population of models
  takes "none", then its own mean over the batch, so that models do not mix.
* `weight` has one number per class, at least 0, which multiplies the terms of that class. The mean over class indices
  divides by the summed weights of the labels, as in PyTorch and ONNX; Keras divides by their number. The mean over
  probabilities divides by the number of rows, as in PyTorch. With `label_smoothing` the smoothed target is weighted.
* A label equal to `ignore_index` counts for nothing: its loss and gradient are 0 whatever its logits are, NaN
  included, and no mean counts it. It may lie outside [0, C), as 255 or -100 do.
* Where nothing counts (no label at all, all ignored, all of weight 0) the mean is NaN, the sum 0, and the gradient 0.
* A logit of -inf is a class that is ruled out: its probability is exactly 0, and it adds nothing to the loss where
  its target is 0 (0 log 0 is 0). If it is the right class the loss is infinite. A row of -inf only has no softmax:
  it is NaN, and its log-sum-exp is -inf.
* +inf or NaN in a row gives NaN in that row and nowhere else; the log-sum-exp of +inf is +inf.
* `hardmax` gives ties to the first class, and a row with NaN is NaN. No gradient flows through it.
* Labels outside [0, C) are errors, found by looking at the values: on a GPU every call waits for that one answer.
* All arrays of one call belong to one library. Logits are in nats, and so are losses.

The files offer `softmax`, `log_softmax`, `hardmax`, `logsumexp`, `cross_entropy`, `cross_entropy_backward` and
`SoftmaxRegression`, the framework's own kind of linear model on top of them.

Sources: Bridle (1990), Probabilistic Interpretation of Feedforward Classification Network Outputs (softmax and its
name); Blanchard, Higham and Higham (2021), Accurately Computing the Log-Sum-Exp and Softmax Functions (the shift is
safe; softmax as exp(z - logsumexp(z)), without the division, may not be), https://doi.org/10.1093/imanum/draa038;
Szegedy, Vanhoucke, Ioffe, Shlens and Wojna (2016), Rethinking the Inception Architecture for Computer Vision,
section 7 (label smoothing), https://arxiv.org/abs/1512.00567.
"""
