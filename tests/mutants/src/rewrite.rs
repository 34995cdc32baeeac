//! Owns how a source gets all its mutants at once: each stands beside the code that it replaces, behind
//! `crate::mutants::on(NUMBER)`, which is false but for one.

use crate::list::{Genre, Lines, Numbered, OfFile};
use anyhow::Result;
use quote::ToTokens;
use std::collections::BTreeSet;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    BinOp, Block, Expr, ExprBinary, ExprMatch, ExprStruct, ExprUnary, ReturnType, Signature, Stmt, Type, parse_quote,
};

/// The source with its mutants, and which of them are in it.
pub fn rewrite(source: &str, mutants: &OfFile) -> Result<(String, BTreeSet<u32>)> {
    let mut file = syn::parse_file(source)?;
    let mut rewriter = Rewriter { mutants, placed: BTreeSet::new() };
    rewriter.visit_file_mut(&mut file);
    Ok((prettyplease::unparse(&file), rewriter.placed))
}

struct Rewriter<'a> {
    mutants: &'a OfFile,
    placed: BTreeSet<u32>,
}

/// The switch of a mutant.
fn on(number: u32) -> Expr {
    parse_quote!(crate::mutants::on(#number))
}

/// Chains of `let` stay as they are: another operator beside them does not compile.
fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

/// An operand that stays one whatever the operator.
fn operand(expr: &Expr) -> Expr {
    match expr {
        Expr::Binary(_) | Expr::Cast(_) | Expr::Range(_) | Expr::Closure(_) => parse_quote!((#expr)),
        _ => expr.clone(),
    }
}

/// `if on(1) { mutant } else if on(2) { mutant } else { original }`.
fn branches(original: &impl ToTokens, mutants: Vec<(u32, Expr)>) -> Expr {
    let mut whole: Expr = parse_quote!({ #original });
    for (number, mutant) in mutants.into_iter().rev() {
        let on = on(number);
        whole = parse_quote!(if #on { #mutant } else #whole);
    }
    parse_quote!((#whole))
}

impl Rewriter<'_> {
    fn of(&mut self, genre: Genre, span: Lines) -> Vec<Numbered> {
        let found = self.mutants.get(&(genre, span)).cloned().unwrap_or_default();
        self.placed.extend(found.iter().map(|(number, _)| *number));
        found
    }

    fn body(&mut self, signature: &Signature, block: &mut Block) {
        let (Some(first), Some(last)) = (block.stmts.first(), block.stmts.last()) else { return };
        let span = Lines::from(first.span()).to(last.span().into());
        // Two values behind one `impl Trait` would have to be of one type.
        let is_opaque =
            matches!(&signature.output, ReturnType::Type(_, value) if matches!(**value, Type::ImplTrait(_)));
        let found = if is_opaque { Vec::new() } else { self.of(Genre::FnValue, span) };
        visit_mut::visit_block_mut(self, block);
        let mut at_once = Vec::new();
        for (number, value) in found {
            let Ok(value) = syn::parse_str::<Expr>(&value) else {
                self.placed.remove(&number);
                continue;
            };
            let on = on(number);
            at_once.push(parse_quote!(if #on { return #value; }));
        }
        block.stmts.splice(0..0, at_once.into_iter().map(|expr| Stmt::Expr(expr, None)));
    }

    fn binary(&mut self, binary: &mut ExprBinary) -> Option<Expr> {
        let found = self.of(Genre::BinaryOperator, binary.op.span().into());
        visit_mut::visit_expr_binary_mut(self, binary);
        if found.is_empty() {
            return None;
        }
        let (left, op, right) = (&binary.left, &binary.op, &binary.right);
        if matches!(op, BinOp::And(_) | BinOp::Or(_)) {
            if has_let(left) || has_let(right) {
                self.placed.retain(|placed| found.iter().all(|(number, _)| number != placed));
                return None;
            }
            // De Morgan, so that chains of them do not double with each.
            let on = on(found.first()?.0);
            return Some(parse_quote!(((((#left) ^ #on) #op ((#right) ^ #on)) ^ #on)));
        }
        let mut mutants = Vec::new();
        let (left, right) = (operand(left), operand(right));
        for (number, other) in found {
            let other: BinOp = syn::parse_str(&other).ok()?;
            mutants.push((number, parse_quote!(#left #other #right)));
        }
        Some(branches(binary, mutants))
    }

    fn unary(&mut self, unary: &mut ExprUnary) -> Option<Expr> {
        let found = self.of(Genre::UnaryOperator, unary.op.span().into());
        visit_mut::visit_expr_unary_mut(self, unary);
        let (number, _) = found.first()?;
        Some(branches(unary, vec![(*number, (*unary.expr).clone())]))
    }

    fn arms(&mut self, choice: &mut ExprMatch) {
        for arm in &mut choice.arms {
            let left_out = self.of(Genre::MatchArm, arm.span().into());
            let Some((_, guard)) = &mut arm.guard else {
                if let Some((number, _)) = left_out.first() {
                    let on = on(*number);
                    arm.guard = Some((parse_quote!(if), parse_quote!(!#on)));
                }
                visit_mut::visit_arm_mut(self, arm);
                continue;
            };
            let found = if has_let(guard) { Vec::new() } else { self.of(Genre::MatchArmGuard, guard.span().into()) };
            visit_mut::visit_arm_mut(self, arm);
            if let Some((_, guard)) = &mut arm.guard
                && !found.is_empty()
            {
                **guard = guarded(guard, &found);
            }
        }
        self.visit_expr_mut(&mut choice.expr);
    }

    fn fields(&mut self, new: &mut ExprStruct) -> Option<Expr> {
        new.rest.as_ref()?;
        let spans: Vec<Lines> = new
            .fields
            .pairs()
            .map(|pair| {
                let span = Lines::from(pair.value().span());
                pair.punct().map_or(span, |comma| span.to(comma.span().into()))
            })
            .collect();
        visit_mut::visit_expr_struct_mut(self, new);
        let mut mutants = Vec::new();
        for (index, span) in spans.into_iter().enumerate() {
            for (number, _) in self.of(Genre::StructField, span) {
                let mut without = new.clone();
                let others = new.fields.iter().enumerate().filter(|(at, _)| *at != index);
                without.fields = others.map(|(_, field)| field.clone()).collect();
                if !without.fields.empty_or_trailing() {
                    without.fields.push_punct(Default::default());
                }
                mutants.push((number, Expr::Struct(without)));
            }
        }
        (!mutants.is_empty()).then(|| branches(new, mutants))
    }
}

/// A guard that a mutant makes always true, and another never.
fn guarded(guard: &Expr, found: &[Numbered]) -> Expr {
    let mut whole = guard.clone();
    for (number, value) in found {
        let on = on(*number);
        whole = match value.as_str() {
            "true" => parse_quote!((#on || (#whole))),
            _ => parse_quote!((!#on && (#whole))),
        };
    }
    whole
}

impl VisitMut for Rewriter<'_> {
    fn visit_item_fn_mut(&mut self, function: &mut syn::ItemFn) {
        self.body(&function.sig, &mut function.block);
    }

    fn visit_impl_item_fn_mut(&mut self, function: &mut syn::ImplItemFn) {
        self.body(&function.sig, &mut function.block);
    }

    fn visit_trait_item_fn_mut(&mut self, function: &mut syn::TraitItemFn) {
        if let Some(block) = &mut function.default {
            self.body(&function.sig, block);
        }
    }

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        let changed = match expr {
            Expr::Binary(binary) => self.binary(binary),
            Expr::Unary(unary) => self.unary(unary),
            Expr::Struct(new) => self.fields(new),
            Expr::Match(choice) => {
                self.arms(choice);
                None
            }
            _ => {
                visit_mut::visit_expr_mut(self, expr);
                None
            }
        };
        if let Some(changed) = changed {
            *expr = changed;
        }
    }
}
