r"""TensorFlow, then and now: the lecture's two programs on :math:`J(w) = w^2 - 10 w + 25`, in five styles.

Gradient descent from :math:`w_0 = 0` at learning rate :math:`\alpha` is

.. math::
    w_{t+1} = w_t - \alpha\,(2 w_t - 10), \qquad w_t = 5\,\bigl(1 - (1 - 2\alpha)^t\bigr),

so it converges for :math:`0 < \alpha < 1`. `autodiff.py` holds reverse-mode differentiation in a few lines,
`experiments.py` the descents in any NumPy precision, `figures.py` their pictures, `checks.py` the exercises' tests.

Source: Ng (2017), Improving Deep Neural Networks, week 3, "TensorFlow".
"""
