"""The environment in which chapters run: on the CPU, one thread, nothing logged.

The order of a sum depends on the number of threads and on oneDNN, and so do its last digits. With these
settings a chapter prints the same digits again. `tools.chapters` and `chapters/conftest.py` both use them.
"""

KERNEL_ENV = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "DLBOOK_DEVICE": "cpu",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
}
