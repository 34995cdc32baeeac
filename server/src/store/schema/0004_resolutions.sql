-- How conflicts were resolved: a resolution that is sent again gets the first answer.

ALTER TABLE conflicts ADD COLUMN resolution {BLOB};
