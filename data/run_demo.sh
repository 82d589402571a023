#!/usr/bin/env bash
# Make a demo cohort and take it through every stage: bash data/run_demo.sh PYTHON PROJECT
# What is finished is skipped, so that a second run takes seconds.
set -euo pipefail
if [ $# -ne 2 ]; then
    echo "usage: bash data/run_demo.sh PYTHON PROJECT" >&2
    exit 2
fi
python=$1
project=$2
here=$(cd "$(dirname "$0")/.." && pwd)

stage() {  # heading, script and its arguments after the project
    local heading=$1 script=$2 start=$SECONDS
    shift 2
    printf '\n== %s\n' "$heading"
    "$python" "$here/$script" "$project" "$@"
    printf '   %d s\n' $((SECONDS - start))
}

stage "Demo cohort: slides, bulk expression and the truth behind them" data/make_demo_cohort.py
stage "Deconvolution: cell fractions and cell-type expression" deconvolution/1main_deconvolution.py
# 80 patients leave few genes at the default confidence; at 0.5 a gene is more likely than not ranked right.
stage "Targets: labels of confident genes" deconvolution/prepare_targets.py --confidence 0.5
stage "Slides to tiles to features, random convolutions" slide_processing/1main_processing.py all --weights random
stage "Masks of all slides in one PDF" slide_processing/collect_mask.py
stage "Features of all slides in one file" slide_processing/collect_features.py
stage "Folds, by patient" prediction/make_splits.py --stratify response
stage "Expression of each cell type" prediction/1main_cs_exp_regression.py all all all --hidden 256 --max-epochs 150
stage "Abundance of the cell types" prediction/1main_abundance_regression.py all all --hidden 256 --max-epochs 500
stage "Response, directly from slides" prediction/1main_direct.py all all --hidden 128 --max-epochs 100
stage "Out-of-fold predictions and statistics" prediction/collect_results.py
stage "Figures" prediction/figures.py
stage "Predictions against the known truth" data/summarise_demo.py
printf '\nThe demo took %d s\n' "$SECONDS"
