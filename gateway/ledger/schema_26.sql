-- The list of studies: found by what stands in them, and put in several orders, without reading them all.

CREATE TABLE study_traits (
    trait        TEXT NOT NULL CHECK (trait IN ('modality', 'sender', 'rule', 'destination', 'flag')),
    value        TEXT NOT NULL,
    received_at  TEXT NOT NULL,             -- its study's, which never changes: a list walks along it
    study_key    TEXT NOT NULL REFERENCES studies (study_key) ON DELETE CASCADE,
    PRIMARY KEY (trait, value, received_at, study_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX study_traits_by_study ON study_traits (study_key);

-- A series has one modality, and came from one sender but for what was sent on: its first image says both.
CREATE TABLE first_images AS SELECT min(rowid) AS image FROM instances GROUP BY study_uid, series_uid;
INSERT OR IGNORE INTO study_traits
    SELECT 'modality', i.modality, s.received_at, s.study_key
    FROM first_images f CROSS JOIN instances i ON i.rowid = f.image JOIN studies s USING (study_uid)
    WHERE i.modality <> '';
INSERT OR IGNORE INTO study_traits
    SELECT 'sender', i.sender, s.received_at, s.study_key
    FROM first_images f CROSS JOIN instances i ON i.rowid = f.image JOIN studies s USING (study_uid);
DROP TABLE first_images;
INSERT OR IGNORE INTO study_traits
    SELECT 'rule', j.rule, s.received_at, s.study_key FROM jobs j JOIN studies s USING (study_uid);
INSERT OR IGNORE INTO study_traits
    SELECT 'destination', d.destination, s.received_at, s.study_key
    FROM deliveries d JOIN studies s USING (study_uid);
INSERT OR IGNORE INTO study_traits
    SELECT 'flag', f.code, s.received_at, s.study_key
    FROM job_flags f JOIN jobs j USING (job_key) JOIN studies s USING (study_uid);

CREATE TRIGGER trait_of_job AFTER INSERT ON jobs BEGIN
    INSERT OR IGNORE INTO study_traits
    SELECT 'rule', NEW.rule, received_at, study_key FROM studies WHERE study_uid = NEW.study_uid;
END;
CREATE TRIGGER trait_of_delivery AFTER INSERT ON deliveries BEGIN
    INSERT OR IGNORE INTO study_traits
    SELECT 'destination', NEW.destination, received_at, study_key FROM studies WHERE study_uid = NEW.study_uid;
END;
CREATE TRIGGER trait_of_delivery_gone AFTER DELETE ON deliveries BEGIN
    DELETE FROM study_traits WHERE trait = 'destination' AND value = OLD.destination
        AND study_key = (SELECT study_key FROM studies WHERE study_uid = OLD.study_uid)
        AND NOT EXISTS (SELECT 1 FROM deliveries d
            WHERE d.study_uid = OLD.study_uid AND d.destination = OLD.destination);
END;
CREATE TRIGGER trait_of_flag AFTER INSERT ON job_flags BEGIN
    INSERT OR IGNORE INTO study_traits
    SELECT 'flag', NEW.code, s.received_at, s.study_key
    FROM jobs j JOIN studies s USING (study_uid) WHERE j.job_key = NEW.job_key;
END;
CREATE TRIGGER trait_of_flag_gone AFTER DELETE ON job_flags BEGIN
    DELETE FROM study_traits WHERE trait = 'flag' AND value = OLD.code
        AND study_key = (SELECT s.study_key FROM jobs j JOIN studies s USING (study_uid)
            WHERE j.job_key = OLD.job_key)
        AND NOT EXISTS (SELECT 1 FROM jobs o JOIN jobs j ON j.study_uid = o.study_uid
            JOIN job_flags f ON f.job_key = j.job_key
            WHERE o.job_key = OLD.job_key AND f.code = OLD.code);
END;

-- Several orders. What changes with each image, while a study comes in, stands in none of these.
DROP INDEX studies_by_patient;
DROP INDEX studies_by_accession;
CREATE INDEX studies_by_patient ON studies (patient_id, study_key);
CREATE INDEX studies_by_accession ON studies (accession_number, study_key);
CREATE INDEX studies_by_updated ON studies (updated_at, study_key) WHERE state <> 'receiving';
CREATE INDEX studies_by_images ON studies (images, study_key) WHERE state <> 'receiving';
