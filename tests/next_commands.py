"""Runs what check_project.py prints as the next command, until everything is done."""
import shlex

QUICK = {"1main_processing.py": ["--weights", "random"], "prepare_targets.py": ["--confidence", "0"],
         "make_splits.py": ["--outer", "2", "--inner", "2"], "collect_results.py": ["--bootstrap", "20"],
         "1main_cs_exp_regression.py": ["--max-epochs", "2", "--hidden", "8"],
         "1main_abundance_regression.py": ["--max-epochs", "2", "--hidden", "8"],
         "1main_direct.py": ["--max-epochs", "2", "--hidden", "8"]}


def follow(run_script, project, with_options=True):
    """Scripts that were run, in order, and the last line of the check.

    with_options : add options that make a first run quick; without, the commands run exactly as they are printed
    """
    scripts = []
    while True:
        check = run_script("data/check_project.py", project)
        assert check.returncode == 0, check.stdout + check.stderr
        last = check.stdout.splitlines()[-1]
        if last.startswith("everything is done"):
            return scripts, last
        script, *words = shlex.split(last.removeprefix("next: "))[1:]
        assert script not in scripts, f"{script} is proposed twice:\n{check.stdout}"
        scripts.append(script)
        extra = QUICK.get(script.split("/")[1], []) if with_options else []
        done = run_script(script, *words, *extra)
        assert done.returncode == 0, f"{last}\n{done.stderr}"
