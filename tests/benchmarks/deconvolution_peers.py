"""Bulk deconvolved by another tool, as its documentation shows; a process of its own for bench_deconvolution --peers.

    <python of the tool> tests/benchmarks/deconvolution_peers.py BayesPrism input.npz output.npz

Reads   input.npz: bulk (n_genes, n_samples), reference (n_genes, n_cell_types), profiles (n_genes, n_states), their
        of_type, all linear; markers, scored: rows of them
Writes  output.npz: fractions (n_samples, n_cell_types); from some tools expression (n_cell_types, n, n_samples) of the
        rows `genes`; version of the tool, and what it was given

Runs where this project is not installed. Genes and draws are fewer where a tool is slow, which `given` says.
"""
import importlib.metadata
import sys

import numpy as np

SEED = 1
N_SLOW_GENES = 200      # for what takes a Python loop or a gradient for every gene and sample
READS = 100_000         # of a sample, for a tool that draws every read
BLADE_MEAN = 10         # of the values: in TPM its support vectors take 13 minutes a sample
N_DRAWS, BURN_IN = 60, 30
N_MIXTURES, EPOCHS = 1000, 40   # on which a network is trained; the defaults are 5,000 and 128
CELL_LOG_SD = .5        # of cells around the profile of their state, natural log
N_CELLS = 50            # of each state


def slow_genes(data):
    """The scored markers, and as many others as make N_SLOW_GENES."""
    scored, markers = data["scored"], np.isin(data["scored"], data["markers"])
    return np.sort(np.r_[scored[markers], scored[~markers]][:N_SLOW_GENES])


def bayesprism(data):
    from bayesprism import GibbsControl, get_fraction, new_prism, run_prism
    from returns.maybe import Nothing, Some
    from torch import distributions
    distributions.Distribution.set_default_validate_args(False)     # four times faster
    genes = slow_genes(data)
    bulk = data["bulk"][genes]
    reads = np.round(bulk / bulk.sum(axis=0) * READS).astype(np.float32)
    n_types = data["reference"].shape[1]
    prism = new_prism(data["reference"][genes].T, [str(k) for k in range(n_types)], Nothing, reads.T,
                      outlier_cut=1.).unwrap()
    done = run_prism(prism, gibbs_control=Some(GibbsControl(chain_length=N_DRAWS, burn_in=BURN_IN, thinning=1,
                                                            seed=SEED))).unwrap()
    fractions = get_fraction(done).unwrap().drop("bulk_id").to_numpy()
    made = done.posterior_initial_cell_type.Z.numpy().transpose(2, 1, 0)    # expression times abundance
    abundance = done.posterior_initial_cell_type.theta.numpy().T[:, None]
    return fractions, genes, made / np.maximum(abundance, 1e-6), (
        f"{len(genes)} genes, {N_DRAWS - BURN_IN} of {N_DRAWS} draws")


def blade(data):
    from Deconvolution.BLADE import Framework
    np.random.seed(SEED)
    genes = slow_genes(data)
    bulk, reference = (BLADE_MEAN * data[name][genes] / data[name][genes].mean() for name in ("bulk", "reference"))
    mean = np.log(reference + 1)
    done, *_ = Framework(mean, np.full(mean.shape, CELL_LOG_SD), bulk, Alphas=[1], Alpha0s=[1],
                         Kappa0s=[1], SYs=[1], Nrep=1, Njob=1)
    return done.ExpF(done.Beta), genes, np.exp(np.asarray(done.Nu)).transpose(2, 1, 0), (
        f"{len(genes)} genes, one setting of its grid")


def mixtures(data):
    """AnnData of mixtures (TAPE's own) of log-normal cells around the states, and bulk as DataFrame."""
    import pandas as pd
    from TAPE.simulation import generate_simulated_data
    random = np.random.default_rng(SEED)
    np.random.seed(SEED)
    of_cell = np.repeat(np.arange(data["profiles"].shape[1]), N_CELLS)
    cells = data["profiles"].T[of_cell] * random.lognormal(0, CELL_LOG_SD, (len(of_cell), len(data["bulk"])))
    names = [f"g{i}" for i in range(len(data["bulk"]))]
    cells = pd.DataFrame(cells.astype(np.float32), [f"t{k}" for k in data["of_type"][of_cell]], names)
    bulk = pd.DataFrame(data["bulk"].T, [f"s{i}" for i in range(data["bulk"].shape[1])], names)
    return generate_simulated_data(cells, samplenum=N_MIXTURES, n=100), bulk


def tape(data):
    from TAPE import Deconvolution
    with_fractions, bulk = mixtures(data)
    fractions = Deconvolution(with_fractions, bulk, datatype="counts", mode="overall", adaptive=True, epochs=EPOCHS)[1]
    return in_order(fractions), None, None, f"states, {N_MIXTURES} mixtures, {EPOCHS} epochs"


def scaden(data):
    from TAPE.deconvolution import ScadenDeconvolution
    with_fractions, bulk = mixtures(data)
    return in_order(ScadenDeconvolution(with_fractions, bulk, epochs=EPOCHS)), None, None, (
        f"states, {N_MIXTURES} mixtures, {EPOCHS} epochs, as TAPE has it")


def in_order(fractions):
    return fractions[[f"t{k}" for k in range(fractions.shape[1])]].to_numpy()


def dtangle(data):
    import anndata
    import pandas as pd
    from dtangle import deconvolut
    names = [f"g{i}" for i in data["markers"]]
    log = {name: np.log2(data[name][data["markers"]].T + 1) for name in ("bulk", "profiles")}
    bulk, states = (anndata.AnnData(pd.DataFrame(table, [str(i) for i in range(len(table))], names))
                    for table in log.values())
    states.obs["cell_type"] = [f"t{k}" for k in data["of_type"]]
    deconvolut(bulk, states, "cell_type")
    found = bulk.obsm["dtangle"]
    return in_order(found) if isinstance(found, pd.DataFrame) else np.asarray(found), None, None, "states, markers"


TOOLS = {"BayesPrism": (bayesprism, "bayesprism", "bayesprism"),    # how it is called, imported, installed
         "BLADE": (blade, "Deconvolution.BLADE", "BLADE-Deconvolution"),
         "TAPE": (tape, "TAPE", "scTAPE"), "Scaden": (scaden, "TAPE", "scTAPE"),
         "dtangle": (dtangle, "dtangle", "dtangle")}

if __name__ == "__main__":
    tool, source, target = sys.argv[1:]
    function, _, package = TOOLS[tool]
    with np.load(source) as file:
        fractions, genes, expression, given = function(dict(file))
    more = {} if genes is None else {"genes": genes, "expression": expression}
    np.savez(target, fractions=fractions, given=given, version=importlib.metadata.version(package), **more)
