-- How far the timeline was counted into figures that are put elsewhere (watched.py).

CREATE TABLE watch (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    is_on    INTEGER NOT NULL,
    counted  INTEGER NOT NULL               -- events.seq of the last line that is in the figures
) STRICT;
INSERT INTO watch (id, is_on, counted) VALUES (1, 0, 0);
