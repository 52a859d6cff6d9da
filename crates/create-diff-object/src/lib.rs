//! Extracts the changed functions of an object pair into a livepatch object.
