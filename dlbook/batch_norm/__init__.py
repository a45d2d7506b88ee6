r"""Batch normalisation: give every feature of a layer mean 0 and variance 1, measured on the mini-batch.

For one feature with values :math:`x_1, \dots, x_m` in a mini-batch of m examples:

.. math::
    \mu = \frac1m \sum_i x_i, \qquad \sigma^2 = \frac1m \sum_i (x_i - \mu)^2, \qquad
    \hat x_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \varepsilon}}, \qquad y_i = \gamma \hat x_i + \beta .

:math:`\gamma` and :math:`\beta` are learned, one of each per feature, so the network can undo the normalisation
where that helps. At test time there may be one example and no batch, so :math:`\mu` and :math:`\sigma^2` are
replaced by averages kept during training (`Running`).

Conventions, the same in `numpy.py`, `tensorflow.py` and `torch.py`:

* `x` is `(..., batch, features)`. `axis` is the axis, or the axes, averaged over: -2 for a dense layer,
  `(0, 2, 3)` for images as NCHW, `(0, 1, 2)` for NHWC. Leading axes are models, and do not mix.
* `gamma` and `beta` have one value per feature: `(features,)`, or the shape of the statistics with 1 on the
  averaged axes (`(1, features)`, `(K, 1, features)`, `(1, C, 1, 1)`). A length-1 `gamma` is not stretched.
* `decay` is the weight KEPT in the running average: PyTorch calls `1 - decay` momentum, Keras calls `decay` momentum.
* The batch is normalised with the biased variance (divide by m), and the running variance stores the biased
  one too, as Keras 3 and ONNX do. PyTorch stores :math:`m/(m-1)` times it.
* The variance is computed in two passes, never as mean(x²) − mean(x)², which loses every digit when the mean
  is large. float16 and bfloat16 are reduced in float32, and `y` comes back in the dtype of `x`.
* `eps = 0` is allowed, for study; a constant feature then gives NaN. A negative `eps` is an error.
* A batch of one row follows the formula: the output is `beta`. An empty batch has no statistics, so training on
  it is an error; at test time it is empty. NaN or infinity in a feature gives NaN in that feature and nowhere else.
* All arrays of one call belong to one library. The running statistics keep their dtype, and pass no gradient on.
* Deviations whose squares overflow (above 1.8e19 in float32) have an infinite variance, and the output is `beta`.

The files offer `batch_norm_train`, `batch_norm_test`, `batch_norm_backward`, `precise_statistics`, `fold`,
`Running`, `BatchNorm`, the framework's own kind of layer around them, and `recompute`, which gives all such layers
of a model, and the framework's own, the precise statistics of a data set.

Source: Ioffe and Szegedy (2015), Batch Normalization: Accelerating Deep Network Training by Reducing Internal
Covariate Shift, Algorithms 1 and 2, https://arxiv.org/abs/1502.03167.
"""

from typing import Any, NamedTuple


class Running(NamedTuple):
    """Statistics of each feature that outlive the mini-batch; arrays that broadcast against `x`."""

    mean: Any
    var: Any


class Cache(NamedTuple):
    """What the backward pass needs from the forward pass."""

    x_hat: Any
    std: Any
    gamma: Any
    axis: tuple[int, ...]
