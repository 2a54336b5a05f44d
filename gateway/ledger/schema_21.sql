-- A study is looked for by what a person has in hand: Patient ID or accession number, or the beginning of one.

CREATE INDEX studies_by_patient ON studies (patient_id);
CREATE INDEX studies_by_accession ON studies (accession_number);
