"""Which files of a TCGA download are used, by their barcodes.

Barcode TCGA-A1-A0SB-01Z-00-DX1: project, tissue source site, participant (together the patient), sample type and vial,
portion, section. Sample type 01 is a primary solid tumour; sections are DX (diagnostic, FFPE), TS, MS or BS (frozen).
Codes: "TCGA Barcode" in the GDC Encyclopedia, "TCGA Code Tables" of the GDC.
"""
import pandas as pd

from slide_ex.ids import some
from slide_ex.project import clinical_file, clinical_words

PATIENT = r"(?P<patient_id>TCGA-\w{2}-\w{4})"
SAMPLE_BARCODE = rf"^{PATIENT}-(?P<sample_type>\d\d)(?P<vial>[A-Z]?)(?=-|$)"
SLIDE_NAME = rf"^(?P<slide_id>{PATIENT}-(?P<sample_type>\d\d)[A-Z]-\d\d-(?P<section>DX|TS|MS|BS)\w*)\."
PRIMARY_TUMOUR = "01"
DIAGNOSTIC, FROZEN = ("DX",), ("TS", "BS")
CASE_COLUMNS = ("cases.submitter_id", "case_submitter_id", "submitter_id")  # of clinical.tsv, new and old; of the API


def leave_out(table, condition, reason):
    """Write a reason (or a Series of them) into the rows of a condition that have none yet."""
    table.loc[condition & (table["reason"] == ""), "reason"] = reason


def choose_slides(sheet, sections):
    """The sheet with slide_id, patient_id and reasons: primary tumours, and sections of the given kinds.

    slide_id is the barcode; slides that share one have the whole file name without its ending.
    """
    fields = sheet["file_name"].str.extract(SLIDE_NAME)
    table = sheet.join(fields)
    leave_out(table, fields["slide_id"].isna(), "its name is no slide barcode of TCGA")
    leave_out(table, fields["sample_type"] != PRIMARY_TUMOUR, "sample type " + fields["sample_type"] + ", not primary "
              f"tumour ({PRIMARY_TUMOUR})")
    leave_out(table, ~fields["section"].isin(sections), "section " + fields["section"] + ", wanted "
              + " or ".join(sections))
    refuse_none_left(table, "slide", "file_name")
    used = table[table["reason"] == ""]
    shared = used[used["slide_id"].duplicated(keep=False)]
    table.loc[shared.index, "slide_id"] = shared["file_name"].str.replace(r"\.\w+$", "", regex=True)
    return table


def choose_samples(sheet):
    """The sheet with patient_id and reasons: one sample of the primary tumour of each patient.

    Of several samples that with the first vial letter is taken (A before B: later vials are mostly FFPE), of several
    files of one vial that with the alphabetically first file id.
    """
    fields = sheet["sample_id"].str.extract(SAMPLE_BARCODE)
    table = sheet.join(fields)
    leave_out(table, fields["patient_id"].isna(), "its Sample ID or column name is no barcode of one TCGA sample")
    leave_out(table, fields["sample_type"] != PRIMARY_TUMOUR, "sample type " + fields["sample_type"] + ", not primary "
              f"tumour ({PRIMARY_TUMOUR})")
    refuse_none_left(table, "sample of expression", "sample_id")
    ordered = table[table["reason"] == ""].sort_values(["vial", "file_id"])
    first = ordered.groupby("patient_id")["sample_id"].first()
    again = ordered.index[ordered["patient_id"].duplicated()]
    leave_out(table, table.index.isin(again), "another sample or file of the patient is used: "
              + table["patient_id"].map(first))
    return table


def refuse_none_left(table, what, name):
    """ValueError when every row has a reason to be left out."""
    if (table["reason"] != "").all():
        counts = table["reason"].value_counts()
        raise ValueError(f"no {what} can be used, such as {some(table[name], 3)}: "
                         + "; ".join(f"{n} x {reason}" for reason, n in counts.items())
                         + ". For other projects than TCGA see data/prepare_cohort.py")


def clinical_table(table, patients):
    """clinical.csv of some patients from the portal's clinical.tsv, which has one row a treatment.

    Columns with more than one value for some patient are left out. GDC does not record the response to neoadjuvant
    chemotherapy, so Response is empty, to be filled in; Time and Event are overall survival, where it has vital_status.
    """
    case = next(column for column in CASE_COLUMNS if column in table)
    table = table[table[case].isin(patients)].apply(clinical_words.without_missing)
    per_patient = table.groupby(case).agg(lambda values: tuple(sorted(set(values) - {""})))
    kept = [column for column in per_patient if per_patient[column].map(len).max() == 1]
    one = per_patient[kept].map(lambda values: values[0] if values else "").reset_index(drop=True)
    first = pd.DataFrame({"Patient.ID": per_patient.index, "Response": ""})
    return pd.concat([first, overall_survival(per_patient), one], axis=1)


def overall_survival(per_patient):
    """Time (days from diagnosis) and Event (1 dead, 0 alive when last seen) of patients, "" where not known.

    per_patient : DataFrame of tuples, the values of each patient in a column of clinical.tsv. Of several follow-ups the
        last one counts. Without a column vital_status there are no columns.
    """
    fields = {field: [column for column in per_patient if column.rpartition(".")[2] == field]
              for field in clinical_file.OF_SURVIVAL}
    vital, death, *follow_ups = fields.values()
    if not vital:
        return pd.DataFrame(index=range(len(per_patient)))

    def of_patient(row):
        status = {word.lower() for column in vital for word in row[column]}
        if status not in ({"dead"}, {"alive"}):     # not known, or both
            return "", ""
        columns = death if status == {"dead"} else sum(follow_ups, [])
        days = [days_in(value, column) for column in columns for value in row[column]]
        return (f"{max(days):g}", "1" if status == {"dead"} else "0") if days and max(days) >= 0 else ("", "")

    return pd.DataFrame([of_patient(row) for _, row in per_patient.iterrows()],
                        columns=[clinical_file.TIME, clinical_file.EVENT])


def days_in(value, column):
    """A number of days; ValueError with the column where it is none."""
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"clinical.tsv: {column} holds {value!r}, which is no number of days: empty that cell, or "
                         "write the number") from None
