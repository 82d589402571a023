#!/usr/bin/env bash
# Once more who predicts response, when the composition of the tissue drives it:
# bash data/run_demo_response.sh PYTHON PROJECT
# Works on copies of a finished demo, PROJECT_composition and PROJECT_composition_hospital2. Slides and expression stay
# what they were, so only what learns from response is done again. The last two tables show both laws of response;
# their column RNA is the upper reference, predictors that see deconvolved RNA in the place of slides.
set -euo pipefail
if [ $# -ne 2 ]; then
    echo "usage: bash data/run_demo_response.sh PYTHON PROJECT" >&2
    exit 2
fi
python=$1
project=${2%/}
copy=${project}_composition
data=$(cd "$(dirname "$0")" && pwd)
prediction=$data/../prediction
if [ ! -f "${project}_hospital2/predictions/$(basename "$project")/predictions.h5" ]; then
    echo "error: $project is no finished demo: run bash data/run_demo.sh $python $project first" >&2
    exit 1
fi
search=(--search 2 --repeats 1 --features "cell types" Bulk abundance direct "mean colour")  # as in run_demo.sh

rm -rf "$copy" "${copy}_hospital2"
cp -r "$project" "$copy"
cp -r "${project}_hospital2" "${copy}_hospital2"
rm -rf "$copy/response" "$copy/results/direct_preds" "${copy}_hospital2/"{response,predictions}
"$python" "$data/make_demo_cohort.py" "$copy" --response composition --overwrite
"$python" "$data/make_demo_cohort.py" "${copy}_hospital2" --hospital 2 --patients 50 --response composition --overwrite
"$python" "$prediction/1main_direct.py" "$copy" all all --hidden 128 --max-epochs 100 --patience 30
"$python" "$prediction/collect_results.py" "$copy"
"$python" "$prediction/predict_cohort.py" "${copy}_hospital2" --models "$copy"
for cohort in "$project" "$copy"; do
    "$python" "$prediction/predict_response.py" "$cohort" "${search[@]}"
    "$python" "$prediction/predict_response.py" "$cohort" --from targets \
        "${search[@]:0:4}" --features "cell types" Bulk abundance
    "$python" "$prediction/predict_response.py" "${cohort}_hospital2" --train-on "$cohort" "${search[@]}"
done
for cohort in "$project" "$copy"; do
    printf '\n== %s\n' "$cohort"
    "$python" "$data/summarise_demo.py" "$cohort" --external "${cohort}_hospital2"
done
