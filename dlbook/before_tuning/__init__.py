r"""Before tuning: is the code right, is there a baseline, and is the difference larger than the noise?

Three facts carry the chapter. A network that knows nothing gives each of C classes about 1/C, so its loss starts near

.. math::
    \log C + \sigma^2 / 2,

where :math:`\sigma` is the spread of the first logits of an example, small against 1. An accuracy :math:`p` that is
counted on :math:`n` examples has the standard error :math:`\sqrt{p (1 - p) / n}`, which knows of the examples drawn
and of nothing else. And the mean of `n` paired differences with standard deviation `s` has the standard error
:math:`s / \sqrt n`: to see an effect :math:`\delta` in four studies of five takes :math:`n = (2.8\, s / \delta)^2`.

What varies between two runs is named throughout: trial variance (first weights, order of the batches), study variance
(which settings a search happened to try), data variance (which examples fell into which part).

This topic has no framework files of its own: the network is `dlbook.mlp`.

Sources: Karpathy (2019), A Recipe for Training Neural Networks; Bouthillier and others (2021), Accounting for
Variance in Machine Learning Benchmarks; Godbole and others (2023), Deep Learning Tuning Playbook.
"""
