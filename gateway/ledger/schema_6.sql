-- What a person chose among the volumes of a study, and what the images of a job were when it was planned:
-- neither changes with later images, nor with the versions that are installed.

ALTER TABLE jobs ADD COLUMN volume_sha256 TEXT NOT NULL DEFAULT '';     -- of its images; '': by a version without it
ALTER TABLE volumes ADD COLUMN first_image TEXT NOT NULL DEFAULT '';    -- numbers change, this stays in the volume
ALTER TABLE volumes ADD COLUMN can_be_used INTEGER NOT NULL DEFAULT 1;  -- 0: no rule would take it, chosen or not

CREATE TABLE choices (
    study_uid   TEXT NOT NULL REFERENCES studies,
    series_uid  TEXT NOT NULL,
    number      INTEGER NOT NULL,           -- of the volume in its series when it was chosen
    image       TEXT NOT NULL,              -- one of its images, by which it is known again; '': by its number
    chosen_at   TEXT NOT NULL,
    is_open     INTEGER NOT NULL,           -- 1: the study is not planned with it yet
    PRIMARY KEY (study_uid, series_uid, image)
) STRICT, WITHOUT ROWID;
CREATE INDEX choices_open ON choices (study_uid) WHERE is_open = 1;
