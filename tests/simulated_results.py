"""A project folder with results as the scripts of prediction/ leave them, of any size, and an external cohort of it."""
import numpy as np
import pandas as pd

from evaluation import association, out_of_fold, result_tables
from response import survival
from slide_ex import hdf5
from slide_ex.project import predictions_file, splits_file
from training import patient_splits

CELL_TYPES = ("B-cells", "CAFs", "Cancer Epithelial", "Endothelial", "Myeloid", "Normal Epithelial", "PVL",
              "Plasmablasts", "T-cells")
FILTERS = {"genes": 2, "in the list": 1.8, "confident": 1.3, "non-zero": 1.1, "variable": 1}  # times the genes left
N_BOOTSTRAP = 20


def write(folder, cell_types=CELL_TYPES, n_genes=20, n_patients=60, seed=0):
    """Files that figures read of a project; prediction = label + noise, more of it for later genes and cell types."""
    random = np.random.default_rng(seed)
    results = folder / "results"
    predicted = predictions(random, cell_types, n_genes, n_patients)
    write_tables(results, predicted, baselines=("ridge", "mean colour", "bulk target", "shuffled labels"))
    for target in predicted:
        score = "valid_accuracy" if target == "direct" else "valid_r"
        for fold in range(4):
            path = results / f"{'cell_fraction' if target == 'abundance' else target}_preds" / f"result_{fold}_0"
            path.mkdir(parents=True)
            epochs = np.arange(1, 31)
            scores = random.uniform(0.3, 0.7) - np.square(epochs - random.integers(5, 25)) / 1000
            pd.DataFrame({"epoch": epochs, "train_loss": 1 / epochs, "valid_loss": 1 / epochs, score: scores}
                         ).to_csv(path / "history.csv", index=False)
    n_tiles = random.integers(0, 5000, n_patients)
    with hdf5.writing(folder / "features.h5") as file:
        hdf5.write_strings(file, "slide_ids", [f"S{i}" for i in range(n_patients)])
        hdf5.write_strings(file, "patient_ids", [f"P{i // 2}" for i in range(n_patients)])
        hdf5.write_array(file, "first_tile", np.r_[0, np.cumsum(n_tiles)])
        hdf5.write_array(file, "mean_features", np.zeros((n_patients, 1), "f4"))
        hdf5.write_array(file, "mean_rgb", np.zeros((n_patients, 3), "f4"))
        hdf5.new_array(file, "features", (n_tiles.sum(), 1536), "f4")  # takes no space: nothing is written
        file.attrs.update(encoder="uni2-h", weights="uni2-h.bin")
    splits_file.write(folder / "splits.json", patient_splits.draw([f"P{i}" for i in range(n_patients // 2)], 5, 5, 0))
    (folder / "deconvolution").mkdir()
    pd.DataFrame([{"cell_type": name, **{column: int(n_genes * times) for column, times in FILTERS.items()}}
                  for name in cell_types]).to_csv(folder / "deconvolution" / "target_genes.csv", index=False)
    return folder


def write_external(folder, project, seed=1):
    """Another cohort's predictions/<name of project>/, with overlap.csv."""
    trained = {path.name.removesuffix("_genes.csv"): pd.read_csv(path).set_index("gene")["pearson_r"]
               for path in sorted((project / "results").glob("*_genes.csv"))}
    here = folder / "predictions" / project.name
    genes = max(map(len, trained.values()))
    write_tables(here, predictions(np.random.default_rng(seed), list(trained), genes, 40), baselines=())
    rows = []
    for cell_type, r in trained.items():
        other = pd.read_csv(here / f"{cell_type}_genes.csv").set_index("gene")["pearson_r"]
        first, second = r > 0.4, other > 0.4
        rows.append({"cell_type": cell_type, "n_genes": len(r), "n_robust_training": first.sum(),
                     "n_robust_here": second.sum(), "n_both": (first & second).sum(),
                     "p_hypergeometric": 1e-5, "p_benjamini_hochberg": 1e-4})
    pd.DataFrame(rows).to_csv(here / "overlap.csv", index=False)
    return folder


def write_response(folder, kinds, seed=2, n_patients=60):
    """comparison.csv and scores.csv of a setting; kinds: dict of feature set to kind."""
    random = np.random.default_rng(seed)
    response = np.arange(n_patients) % 3 == 0
    scores = pd.DataFrame({"patient_id": [f"P{i}" for i in range(n_patients)], "response": response.astype(int)})
    rows = []
    for i, (name, kind) in enumerate(kinds.items()):
        scores[name] = response + random.normal(scale=1 + 0.1 * i, size=n_patients)
        auc, low, high = association.delong(response, scores[name].to_numpy())
        rows.append({"features": name, "kind": kind, "n_patients": n_patients, "n_pcr": response.sum(), "auc": auc,
                     "auc_low": low, "auc_high": high, "average_precision": 0.6, "average_precision_low": 0.4,
                     "average_precision_high": 0.7})
    folder.mkdir(parents=True)
    pd.DataFrame(rows).to_csv(folder / "comparison.csv", index=False)
    scores.to_csv(folder / "scores.csv", index=False)


def write_survival(folder, kinds, seed=2, n_patients=60):
    """comparison.csv and kaplan_meier.csv of a setting; kinds: dict of feature set to kind."""
    random = np.random.default_rng(seed)
    y = np.c_[random.exponential(900, n_patients), random.random(n_patients) < 0.6].astype(float)
    scores = pd.DataFrame({name: random.normal(size=n_patients) - y[:, 0] / 900 for name in kinds})
    rows = [{"features": name, "kind": kind, "c_index": survival.concordance(y, scores[name].to_numpy()),
             "c_index_low": 0.3, "c_index_high": 0.9, "p_log_rank": 1e-5} for name, kind in kinds.items()]
    folder.mkdir(parents=True)
    pd.DataFrame(rows).to_csv(folder / "comparison.csv", index=False)
    survival.curves(scores, y).to_csv(folder / "kaplan_meier.csv", index=False)


def write_gene_sets(path, n_genes, n_sets=12):
    """A GMT file of invented sets, each of a stretch of the genes GENE0, GENE1, ..."""
    lines = []
    for i in range(n_sets):
        start, stop = i * n_genes // (n_sets + 1), (i + 2) * n_genes // (n_sets + 1)
        lines.append("\t".join([f"GOBP_INVENTED_PROCESS_WITH_A_RATHER_LONG_NAME_{i}", "invented",
                                *(f"GENE{gene}" for gene in range(start, stop))]))
    path.write_text("\n".join(lines) + "\n")
    return path


def predictions(random, cell_types, n_genes, n_patients):
    """OutOfFold by target."""
    patients = np.array([f"P{i:04d}" for i in range(n_patients)])
    result, folds = {}, {"folds": np.arange(n_patients) % 5}
    for i, cell_type in enumerate(cell_types):
        labels = random.normal(size=(n_patients, n_genes)).astype("f4")
        noise = np.linspace(0.5, 4, n_genes) * (1 + 0.3 * i) * random.normal(size=labels.shape)
        genes = np.array([f"GENE{gene}" for gene in range(n_genes)])
        result[cell_type] = out_of_fold.OutOfFold(patients, genes, labels, (labels + noise).astype("f4"), folds)
    fractions = random.dirichlet(np.ones(len(cell_types)), n_patients).astype("f4")
    noise = random.normal(scale=0.05, size=fractions.shape)
    result["abundance"] = out_of_fold.OutOfFold(patients, np.array(cell_types), fractions,
                                                (fractions + noise).astype("f4"), folds)
    response = (random.random((n_patients, 1)) < 0.4).astype("f4")
    probability = np.clip(0.3 + 0.2 * response + random.normal(scale=0.2, size=response.shape), 0.01, 0.99)
    result["direct"] = out_of_fold.OutOfFold(patients, np.array(["pCR"]), response, probability.astype("f4"))
    return result


def write_tables(results, predicted, baselines):
    """The tables of collect_results.py; baselines have the model's rows with a lower median."""
    results.mkdir(parents=True)
    summary = []
    for name, of_target in predicted.items():
        if name == "direct":
            table, path = result_tables.response(of_target, N_BOOTSTRAP, 0), results / "direct.csv"
        elif name == "abundance":
            table, path = result_tables.cell_types(of_target), results / "abundance.csv"
        else:
            table, path = result_tables.correlations(of_target, "gene"), results / f"{name}_genes.csv"
            table["confidence"] = np.random.default_rng(0).uniform(0.5, 1, len(table))
        table.to_csv(path, index=False)
        row = result_tables.summary_row(name, "slide-ex", of_target, N_BOOTSTRAP if len(table) < 1000 else 2, 0)
        quality = result_tables.quality(name)
        for i, model in enumerate(("slide-ex", *baselines)):  # each a little worse than the one before it
            worse = {f"{column}{end}": row[f"{column}{end}"] - 0.1 * i for column in ("median_r", quality)
                     for end in ("", "_low", "_high") if column in row}
            minus = {} if model == "mean colour" or not baselines else {
                "minus_colour": 0.2 - 0.1 * i, "minus_colour_low": 0.1 - 0.1 * i, "minus_colour_high": 0.3 - 0.1 * i}
            summary.append(row | {"model": model} | worse | minus)
    pd.DataFrame(summary).to_csv(results / "summary.csv", index=False)
    predictions_file.write(results / "predictions.h5", [(name, predictions_file.Predicted(
        one.patient_ids, one.outputs, one.predictions, one.labels)) for name, one in predicted.items()], {})
