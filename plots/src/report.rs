//! (soon)
/// c
pub struct Column; 
/// c
pub enum ColumnKind {} 
/// c
pub struct Figure; 
/// c
pub struct Report; 
/// c
pub struct ResultTable; 
/// c
pub struct Verdict;
