//! What is known of the running kernel: the question that the emitter asks ([`symbols`]), the rules of the
//! answer ([`rules`]), and the answer of a symbol table in text form ([`parent`]).

pub mod parent;
pub mod rules;
pub mod symbols;
