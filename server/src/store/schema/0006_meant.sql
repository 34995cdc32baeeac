-- The removed folder that an entry's author put it in, if the one in which it stands took that one's name.

ALTER TABLE entries ADD COLUMN meant_for {BLOB};
