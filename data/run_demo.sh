#!/usr/bin/env bash
# Make two demo cohorts, train on the first, predict the second: bash data/run_demo.sh PYTHON PROJECT
# The second, of another hospital, is PROJECT_hospital2; PROJECT_model holds two of the models to give away. What is
# finished is skipped, so that a second run takes seconds.
set -euo pipefail
if [ $# -ne 2 ]; then
    echo "usage: bash data/run_demo.sh PYTHON PROJECT" >&2
    exit 2
fi
python=$1
project=${2%/}
hospital2=${project}_hospital2
here=$(cd "$(dirname "$0")/.." && pwd)

stage() {  # heading, script and its arguments
    local heading=$1 script=$2 start=$SECONDS
    shift 2
    printf '\n== %s\n' "$heading"
    "$python" "$here/$script" "$@"
    printf '   %d s\n' $((SECONDS - start))
}

from_slides_and_bulk() {  # project and options of the cohort: its labels and features
    stage "Demo cohort: slides, bulk expression and the truth behind them" data/make_demo_cohort.py "$@"
    stage "Deconvolution: cell fractions and cell-type expression" deconvolution/1main_deconvolution.py "$1"
    # Few patients leave few genes at the default confidence; at 0.5 a gene is more likely than not ranked right.
    stage "Targets: labels of confident genes" deconvolution/prepare_targets.py "$1" --confidence 0.5 --bulk
    stage "Slides to tiles to features, random convolutions" \
        slide_processing/1main_processing.py "$1" all --weights random
    stage "Masks of all slides in one PDF" slide_processing/collect_mask.py "$1"
    stage "Features of all slides in one file" slide_processing/collect_features.py "$1"
}

from_slides_and_bulk "$project"
stage "Folds, by patient" prediction/make_splits.py "$project" --stratify response --inner 4
stage "Expression of each cell type" \
    prediction/1main_cs_exp_regression.py "$project" all all all --hidden 128 --max-epochs 300 --patience 25
stage "Abundance of the cell types" \
    prediction/1main_abundance_regression.py "$project" all all --hidden 256 --max-epochs 400
stage "Response, directly from slides" \
    prediction/1main_direct.py "$project" all all --hidden 128 --max-epochs 100 --patience 30
stage "Out-of-fold predictions and statistics" prediction/collect_results.py "$project"
stage "Gene sets among the genes that are predicted" \
    prediction/enrich_genes.py "$project" --gmt "$project/gene_sets.gmt"
stage "Two of the models, to give away" \
    prediction/export_model.py "$project" "${project}_model" --cell-types CAFs abundance

printf '\n=== Another hospital\n'
from_slides_and_bulk "$hospital2" --hospital 2 --patients 50
stage "The models of the first hospital on its slides" \
    prediction/predict_cohort.py "$hospital2" --models "$project"

# Fewer settings and seeds than the default, for speed.
search=(--search 2 --repeats 1 --features "cell types" Bulk abundance direct "mean colour")
stage "Response from predicted expression, inside the first" \
    prediction/predict_response.py "$project" "${search[@]}"
stage "Response of the second, learned in the first" \
    prediction/predict_response.py "$hospital2" --train-on "$project" "${search[@]}"
stage "Figures" prediction/figures.py "$project" --external "$hospital2"
stage "Where in a slide" prediction/map_slide.py "$project" 11 --abundance "Cancer Epithelial" CAFs
stage "Report" prediction/report.py "$project"
stage "Predictions against the known truth" data/summarise_demo.py "$project" --external "$hospital2"
printf '\nThe demo took %d s\n' "$SECONDS"
