//! Bygone: a collector of what happens on a host, kept as history that SQL can question.
