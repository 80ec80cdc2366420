"""`python -m hf_tokcomp.lmms_eval_plugin`: print the folder of the tasks, for lmms-eval's ``--include_path``."""

from . import TASKS

if __name__ == "__main__":
    print(TASKS)
