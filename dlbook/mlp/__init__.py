r"""A multi-layer perceptron: dense layers with ReLU between them, with or without batch norm, softmax at the end.

With L layers and :math:`h_0 = x`:

.. math::
    z_l = h_{l-1} W_l + b_l, \qquad h_l = \max(z_l, 0) \quad (l < L), \qquad
    \text{loss} = -\frac1m \sum_i \log \mathrm{softmax}(z_L)_{i, y_i} .

With batch norm, :math:`h_l = \max(\mathrm{BN}(h_{l-1} W_l; \gamma_l, \beta_l), 0)` in the hidden layers: the
normalisation comes before the ReLU, and there is no :math:`b_l`, which it would subtract again.

Conventions, the same in `numpy.py`, `tensorflow.py` and `torch.py`:

* The parameters are a flat dictionary: `W1` (..., in, out), then `b1` or `gamma1` and `beta1` (..., 1, out), and so
  on from the first layer to the last. `init` without a hidden layer, `sizes=(64, 10)`, is softmax regression.
* A population of K models is the same dictionary with a leading axis of length K, trained by the same lines. `x`
  (batch, features) is then shared by the models; `x` (K, batch, features) gives each its own rows.
* Gradients are of the SUM over models of the mean loss over the batch, so no model feels another. Losses come back
  one per model, shape (K,), or () for one model alone. A diverging model turns to NaN in its own slice.
* The running statistics of batch norm are a separate dictionary from the number of the layer to `Running`. State goes
  in and comes out: nothing is changed in place.
* All randomness comes from `rng`, a NumPy generator, in every framework: the three start from the same weights and
  see the same mini-batches. Instead of one generator there may be a list with one per model; then model k starts and
  trains exactly as it would alone with its generator.
* NumPy and CPU results of one model do not depend, to the last bit, on the models beside it.

The files offer `init`, `init_running`, `forward`, `loss_and_gradients`, `fit`, `evaluate` and `precise_running`.

Sources: He, Zhang, Ren and Sun (2015), Delving Deep into Rectifiers, equation 10 (the scale of the first weights),
https://arxiv.org/abs/1502.01852; Ioffe and Szegedy (2015), section 3.2 (where batch norm goes, and why without b).
"""

from typing import Any, NamedTuple

import numpy as np

from dlbook.batch_norm import Running

Params = dict[str, Any]
RunningStatistics = dict[int, Running]


class Layer(NamedTuple):
    """What one layer saw and computed in `forward`: its input, `h @ W + b`, and the cache of its batch norm."""

    h: Any
    z: Any
    cache: Any | None


class History(NamedTuple):
    """How training went, in NumPy arrays; `...` is nothing for one model and K for a population."""

    loss: np.ndarray  # (steps, ...), nats, of the mini-batch before each step
    recorded: np.ndarray  # (records,), how many steps had been taken when the two below were measured
    val_loss: np.ndarray  # (records, ...), nats
    val_accuracy: np.ndarray  # (records, ...), in [0, 1]


class Fit(NamedTuple):
    """What `fit` returns; `params`, `running` and `state` go back into `fit` to train on."""

    params: Params
    running: RunningStatistics | None
    history: History
    state: dict[str, Any]
