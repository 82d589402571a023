"""Write the results of a project as the text files of the published scripts, so that notebooks made for those run on.

Reads   <project_path>/results/*_preds/result_<outer>_<inner>/
Writes  <out_folder>/results/<the same folders>/ with test_preds.txt, coef_slope.txt, train_valid_loss.txt, ..., and
        breast_<cell type>_gene_file.csv, cell_types_file.csv (formats: data/original/text_outputs.py)

    python data/export_original.py demo demo_as_published
"""
import logging
from pathlib import Path

from slide_ex.script import parser, run, whole

import pandas as pd

from original import text_outputs
from slide_ex.project import model_folder


def main(args):
    if args.out_folder.exists() and not args.overwrite:
        raise ValueError(f"{args.out_folder} is there: give a folder that is not there yet, or --overwrite")
    if args.out_folder.exists() and not (args.out_folder / "results").is_dir():
        raise ValueError(f"{args.out_folder} holds something else than such results: give another folder")
    sources = sorted(path.parent for path in args.project_path.glob("results/*_preds/result_*_*/config.json"))
    if not sources:
        raise FileNotFoundError(f"no trained model in {args.project_path / 'results'}: run prediction/1main_*.py first")
    with whole(args.out_folder) as part:
        part.mkdir()
        outputs = {}
        for source in sources:
            target = model_folder.target_of(source.parent.name)
            outputs[target] = text_outputs.write_model(source, target, part / source.relative_to(args.project_path))
        for target, names in outputs.items():
            if target == "abundance":
                pd.DataFrame({"cell_types": names}).to_csv(part / "cell_types_file.csv", index=False)
            elif target != "direct":
                path = part / f"{text_outputs.PREFIX}_{target}_gene_file.csv"
                pd.DataFrame({"gene": names}).to_csv(path, index=False)
    logging.info(f"{len(sources)} models of {len(outputs)} targets: {args.out_folder}")


if __name__ == "__main__":
    p = parser(__doc__)
    p.add_argument("out_folder", type=Path, help="folder to make")
    run(main, p.parse_args(), "export_original")
