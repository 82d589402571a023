"""The two ways from checked inputs to a result: the native model, and CODEFACS."""
import logging

import numpy as np
import pandas as pd

from outputs.result_files import Result
from slide_ex import ids
from sources import codefacs


def run_native(data, seed, known_fractions, states=None, purity=None, batch=None):
    """Result of the native model for inputs_of_project.Inputs; `states`: model.reference_states.States, `purity`:
    model.tumour_purity.Purity, `batch`: batch_column.Batch, or None."""
    import threadpoolctl

    from model import cell_fractions, native  # scipy takes a second to start, which a skipped re-run need not
    from outputs import native_notes

    if purity:
        of_bulk = cell_fractions.estimate(data.bulk.to_numpy()[data.markers], data.signature.to_numpy(),
                                          states and states.at(data.markers))
        data.notes.append(purity.agreement(of_bulk))
    genes, patients, cell_types = data.bulk.index, data.bulk.columns, data.signature.columns
    with threadpoolctl.threadpool_limits(1, "blas"):  # thin products, between which other threads would only wait
        done = native.deconvolve(data.bulk.to_numpy(), data.markers, data.signature.to_numpy(),
                                 data.reference.to_numpy(), seed, known_fractions, states, purity,
                                 batch and batch.number)
    n_states = np.bincount(states.of_type, minlength=len(cell_types)) if states else np.zeros(len(cell_types), int)
    return Result("native", pd.DataFrame(done.fractions, patients, cell_types),
                  pd.DataFrame(done.confidence, genes, cell_types), done.expression, data.bulk,
                  data.notes + native_notes.of(done, data, batch and batch.column), pd.Series(n_states, cell_types))


def run_codefacs(folder, data, codefacs_folder, arguments):
    """Run CODEFACS on the data in <folder>/codefacs; returns the folder of its outputs."""
    if codefacs_folder is None:
        raise ValueError("--method codefacs needs --codefacs-dir, to run it, or --codefacs-output, to read a finished "
                         "run")
    script = codefacs.script_in(codefacs_folder.resolve())
    work = (folder / "codefacs").resolve()
    output = work / "output"
    output.mkdir(parents=True, exist_ok=True)
    codefacs.write_inputs(work, data.bulk, data.signature)
    for line in codefacs.follow(script, work, output, arguments):
        logging.info(f"CODEFACS: {line}")
    codefacs.refuse_older(output, than=work)
    return output


def read_codefacs(output, data):
    """Result of a finished CODEFACS run on the project's bulk."""
    fractions, confidence, expression = codefacs.read_outputs(output, data.bulk.columns, data.bulk.index)
    missing = data.signature.columns.difference(confidence.columns)
    if len(missing):
        raise ValueError(f"{output}: CODEFACS gave nothing for cell types of the signature: "
                         f"{ids.with_near_matches(missing, confidence.columns)}: spell them as it does")
    return Result("CODEFACS", fractions, confidence, expression, data.bulk.loc[confidence.index], data.notes)
