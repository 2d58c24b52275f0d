// The grammar of stmc, normative for spec/language.md §8. Actions build nodes and do nothing else; what they
// call is in build.c, and the wording of syntax errors in messages.c.
//
// Newlines mean nothing, so two statements must be told apart where the first ends: no statement begins with
// `(`, `[` or an operator. Words that are keywords only in their place arrive already told from names
// (words.c).
%require "3.8"
%define api.pure full
%define api.prefix {stm_yy}
%define api.token.prefix {T_}
%define api.location.type {Span}
%define parse.error custom
%define parse.lac full
%locations
%expect 0
%param {Parse *p}

%code requires {
#include "syntax/build.h"
}

%code {
#define YYLLOC_DEFAULT(Current, Rhs, N)                                                             \
    do {                                                                                            \
        (Current).file = YYRHSLOC(Rhs, (N) ? 1 : 0).file;                                           \
        (Current).begin = (N) ? YYRHSLOC(Rhs, 1).begin : YYRHSLOC(Rhs, 0).end;                      \
        (Current).end = YYRHSLOC(Rhs, N).end;                                                       \
    } while (0)
#define YYMAXDEPTH 40000
#define YYINITDEPTH 400

static int stm_yylex(STM_YYSTYPE *value, Span *at, Parse *p);
static void stm_yyerror(Span *at, Parse *p, const char *message);
// After a syntax error: go on behind the broken statement, or stop.
#define RECOVER(how)                                                                                \
    do {                                                                                            \
        if (!how(p)) YYABORT;                                                                       \
        yyclearin;                                                                                  \
        yyerrok;                                                                                    \
    } while (0)
}

%union {
    Node *node;
    Nodes *nodes;
    const char *name;
}

%token <name> NAME STRING
%token <node> NUMBER
%token INVALID
%token FOR IF ELSE MATCH WHERE WHEN TRUE FALSE AND OR NOT
%token MODEL USE OPTION SETTING AXIS INPUT FUNCTION MODULE OPTIMIZER SCHEDULE NET TEST
%token PARAM STATE IN FROM DATA DYNAMIC ERROR THEN AT
%token CHECK CLOSE WITHIN GRADIENTS OF METRIC OUTPUT COMPARE WITH MONITOR ON KEEP STOP AFTER FREEZE
%token <name> REDUCE
%token PIPE DOTDOT ARROW UPDATE INTDIV LE GE EQ NE

%left PIPE
%right WHERE ELSE
%left OR
%left AND
%precedence NOT
%nonassoc '<' '>' LE GE EQ NE
%precedence BODY        // of a reduction: as far as + and - go
%left '+' '-'
%left '*' '/' INTDIV '%'
%precedence NEGATION
%right '^'
%precedence LABELLED    // fc: linear(3)(x) labels linear(3)
%precedence '('

%type <nodes> declarations uses parameters parameter_list patterns pattern_list names name_list statements
%type <nodes> arms expressions arguments argument_list positions bounds group path targets
%type <node> declaration use axis_value domain dataset parameter inputs pattern dims block statement
%type <node> type_and_dims initial when if_statement iterable apply pipeline head expr primary callee call
%type <node> labelled argument position binders bound part stop arm indexed parameters_node
%type <name> doc precision

%%

file: declarations
    {
        p->root = MAKE_LIST(FILE, @$, $1);
        (void)yynerrs; // errors are counted by the diagnostics
    }

declarations:
    %empty { $$ = nodes_of(p, NULL); }
  | declarations declaration { $$ = nodes_add(p, $1, $2); }
  | declarations error { $$ = $1; RECOVER(recover_in_file); }

declaration:
    MODEL NAME doc { $$ = with_doc(with_name(LEAF(MODEL, @$), $2, @2), $3); }
  | USE uses { $$ = MAKE_LIST(USE, @$, $2); }
  | OPTION NAME '=' expr domain doc { $$ = with_doc(with_name(MAKE(OPTION, @$, $4, $5), $2, @2), $6); }
  | SETTING NAME '=' expr domain doc { $$ = with_doc(with_name(MAKE(SETTING, @$, $4, $5), $2, @2), $6); }
  | AXIS NAME '=' axis_value doc { $$ = with_doc(with_name(MAKE(AXIS, @$, $4), $2, @2), $5); }
  | INPUT NAME ':' NAME dims dataset doc
    { $$ = with_doc(with_text(with_name(MAKE(INPUT, @$, $5, $6), $2, @2), $4), $7); }
  | FUNCTION NAME '(' parameters ')' '=' expr doc
    { $$ = with_doc(with_name(build_function(p, @$, $4, NULL, $7), $2, @2), $8); }
  | FUNCTION NAME '(' parameters ')' ARROW patterns doc block
    { $$ = with_doc(with_name(build_function(p, @$, $4, MAKE_LIST(PATTERNS, @7, $7), $9), $2, @2), $8); }
  | MODULE NAME parameters_node inputs ARROW patterns doc block
    { $$ = with_doc(with_name(MAKE(MODULE, @$, $3, $4, MAKE_LIST(PATTERNS, @6, $6), $8), $2, @2), $7); }
  | NET NAME '(' names ')' ARROW patterns doc block
    {
        Node *in = MAKE_LIST(PATTERNS, @4, $4), *out = MAKE_LIST(PATTERNS, @7, $7);
        $$ = with_doc(with_name(MAKE(NET, @$, NULL, in, out, $9), $2, @2), $8);
    }
  | OPTIMIZER NAME parameters_node ':' patterns doc block
    { $$ = with_doc(with_name(MAKE(OPTIMIZER, @$, $3, MAKE_LIST(PATTERNS, @5, $5), NULL, $7), $2, @2), $6); }
  | SCHEDULE NAME parameters_node '=' expr doc
    { $$ = with_doc(with_name(MAKE(SCHEDULE, @$, $3, NULL, NULL, $5), $2, @2), $6); }
  | SCHEDULE NAME parameters_node doc block
    { $$ = with_doc(with_name(MAKE(SCHEDULE, @$, $3, NULL, NULL, $5), $2, @2), $4); }
  | NAME doc block { $$ = with_doc(with_name(MAKE(JOB, @$, $3), $1, @1), $2); }
  | TEST STRING block { $$ = with_text(MAKE(TEST, @$, $3, NULL), $2); }
  | TEST STRING ERROR STRING block
    {
        $$ = with_name(with_text(MAKE(TEST, @$, $5, with_text(LEAF(STRING, @4), $4)), $2),
                       intern_z(p->names, "error"), @3);
    }

doc:
    %empty { $$ = NULL; }
  | STRING

uses:
    use { $$ = nodes_of(p, $1); }
  | uses ',' use { $$ = nodes_add(p, $1, $3); }

use:
    NAME { $$ = build_name(p, $1, @1); }
  | STRING { $$ = with_text(LEAF(STRING, @1), $1); }

domain:
    %empty { $$ = NULL; }
  | IN iterable { $$ = build_domain(p, $2); }

axis_value:
    expr
  | DYNAMIC { $$ = LEAF(DYNAMIC, @$); }
  | FROM DATA { $$ = LEAF(FROM_DATA, @$); }

dataset:
    %empty { $$ = NULL; }
  | FROM NAME { $$ = build_name(p, $2, @2); }

parameters_node:
    %empty { $$ = LEAF(PARAMS, @$); }
  | '(' parameters ')' { $$ = build_function(p, @$, $2, NULL, NULL)->kid[0]; }

parameters:
    %empty { $$ = nodes_of(p, NULL); }
  | parameter_list

parameter_list:
    parameter { $$ = nodes_of(p, $1); }
  | parameter_list ',' parameter { $$ = nodes_add(p, $1, $3); }

parameter:
    NAME { $$ = with_name(MAKE(NAMED, @$, NULL), $1, @1); }
  | NAME '=' expr { $$ = with_name(MAKE(NAMED, @$, $3), $1, @1); }
  | NAME dims { $$ = with_name(MAKE(PATTERN, @$, $2), $1, @1); }

inputs:
    %empty { $$ = LEAF(PATTERNS, @$); }
  | ':' patterns { $$ = MAKE_LIST(PATTERNS, @2, $2); }

patterns:
    pattern_list
  | '(' pattern_list ')' { $$ = $2; }

pattern_list:
    pattern { $$ = nodes_of(p, $1); }
  | pattern_list ',' pattern { $$ = nodes_add(p, $1, $3); }

pattern:
    NAME { $$ = with_name(MAKE(PATTERN, @$, NULL), $1, @1); }
  | NAME dims { $$ = with_name(MAKE(PATTERN, @$, $2), $1, @1); }

names:
    %empty { $$ = nodes_of(p, NULL); }
  | name_list

name_list:
    NAME { $$ = nodes_of(p, with_name(MAKE(PATTERN, @$, NULL), $1, @1)); }
  | name_list ',' NAME { $$ = nodes_add(p, $1, with_name(MAKE(PATTERN, @3, NULL), $3, @3)); }

// ---- statements

block: '{' statements '}' { $$ = MAKE_LIST(BLOCK, @$, $2); }

statements:
    %empty { $$ = nodes_of(p, NULL); }
  | statements statement { $$ = nodes_add(p, $1, $2); }
  | statements error { $$ = $1; RECOVER(recover_in_block); }

statement:
    PARAM NAME type_and_dims initial when doc
    {
        $$ = with_name(MAKE(PARAM, @$, $3->kid[0], $4, $5), $2, @2);
        with_doc(with_text($$, $3->text), $6);
    }
  | STATE NAME type_and_dims initial when doc
    {
        $$ = with_name(MAKE(STATE, @$, $3->kid[0], $4, $5), $2, @2);
        with_doc(with_text($$, $3->text), $6);
    }
  | targets '=' expr precision { $$ = with_text(MAKE_LIST(ASSIGN, @$, nodes_add(p, $1, $3)), $4); }
  | pattern UPDATE expr precision { $$ = with_text(MAKE(UPDATE, @$, $1, $3), $4); }
  | FOR NAME IN iterable block { $$ = with_name(MAKE(FOR, @$, $4, $5), $2, @2); }
  | if_statement
  | MATCH expr '{' arms '}'
    {
        Nodes *kids = nodes_of(p, $2);
        for (int i = 0; i < $4->count; i++) nodes_add(p, kids, $4->at[i]);
        $$ = MAKE_LIST(MATCH, @$, kids);
    }
  | apply { $$ = MAKE(EVALUATE_EXPR, @$, $1); }
  | OPTIMIZER '=' expr { $$ = MAKE(GROUP_OPTIMIZER, @$, $3); }
  | OPTIMIZER STRING '=' expr { $$ = with_text(MAKE(GROUP_OPTIMIZER, @$, $4), $2); }
  | FREEZE STRING { $$ = with_text(LEAF(FREEZE, @$), $2); }
  | MONITOR NAME ON NAME KEEP NAME stop
    { $$ = with_text(with_name(MAKE(MONITOR, @$, build_name(p, $6, @6), $7), $2, @2), $4); }
  | METRIC NAME '=' expr precision { $$ = with_text(with_name(MAKE(METRIC, @$, $4), $2, @2), $5); }
  | OUTPUT NAME '=' expr precision { $$ = with_text(with_name(MAKE(OUTPUT, @$, $4), $2, @2), $5); }
  | COMPARE NAME WITH NAME { $$ = MAKE(COMPARE, @$, build_name(p, $2, @2), build_name(p, $4, @4)); }
  | CHECK expr CLOSE expr WITHIN expr { $$ = MAKE(CHECK_CLOSE, @$, $2, $4, $6); }
  | CHECK GRADIENTS OF NAME { $$ = MAKE(CHECK_GRADIENTS, @$, build_name(p, $4, @4), NULL); }
  | CHECK GRADIENTS OF NAME WITHIN expr { $$ = MAKE(CHECK_GRADIENTS, @$, build_name(p, $4, @4), $6); }
  | CHECK expr { $$ = build_check(p, @$, $2); }

type_and_dims:
    %empty { $$ = MAKE(PATTERN, @$, NULL); }
  | dims { $$ = MAKE(PATTERN, @$, $1); }
  | ':' NAME { $$ = with_text(MAKE(PATTERN, @$, NULL), $2); }
  | ':' NAME dims { $$ = with_text(MAKE(PATTERN, @$, $3), $2); }

initial:
    '~' expr { $$ = $2; }
  | '=' expr { $$ = $2; }

when:
    %empty { $$ = NULL; }
  | WHEN expr { $$ = $2; }

stop:
    %empty { $$ = NULL; }
  | STOP AFTER expr { $$ = $3; }

precision:
    %empty { $$ = NULL; }
  | AT NAME { $$ = build_precision(p, $2, @2); }

targets:
    pattern { $$ = nodes_of(p, $1); }
  | targets ',' pattern { $$ = nodes_add(p, $1, $3); }

if_statement:
    IF expr block { $$ = MAKE(IF, @$, $2, $3, NULL); }
  | IF expr block ELSE block { $$ = MAKE(IF, @$, $2, $3, $5); }
  | IF expr block ELSE if_statement { $$ = MAKE(IF, @$, $2, $3, $5); }

arms:
    %empty { $$ = nodes_of(p, NULL); }
  | arms arm { $$ = nodes_add(p, $1, $2); }
  | arms error { $$ = $1; RECOVER(recover_in_block); }

arm:
    expr block { $$ = MAKE(ARM, @$, $1, $2); }
  | ELSE block { $$ = MAKE(ARM, @$, NULL, $2); }

iterable:
    expr
  | expr DOTDOT expr { $$ = MAKE(RANGE, @$, $1, $3); }

apply:
    call
  | labelled
  | REDUCE binders expr %prec BODY { $$ = with_name(MAKE(REDUCE, @$, $2, $3), $1, @1); }
  | pipeline

pipeline:
    head PIPE expr { $$ = MAKE(PIPE, @$, $1, $3); }
  | pipeline PIPE expr { $$ = MAKE(PIPE, @$, $1, $3); }

head:
    NAME { $$ = build_name(p, $1, @1); }
  | indexed
  | call
  | labelled

// ---- expressions

expr:
    primary
  | expr PIPE expr { $$ = MAKE(PIPE, @$, $1, $3); }
  | expr WHERE expr ELSE expr { $$ = MAKE(WHERE, @$, $1, $3, $5); }
  | IF expr THEN expr ELSE expr { $$ = MAKE(IF_EXPR, @$, $2, $4, $6); }
  | expr OR expr { $$ = build_binary(p, "or", @$, $1, $3); }
  | expr AND expr { $$ = build_binary(p, "and", @$, $1, $3); }
  | NOT expr { $$ = build_unary(p, "not", @$, $2); }
  | expr '<' expr { $$ = build_binary(p, "<", @$, $1, $3); }
  | expr '>' expr { $$ = build_binary(p, ">", @$, $1, $3); }
  | expr LE expr { $$ = build_binary(p, "<=", @$, $1, $3); }
  | expr GE expr { $$ = build_binary(p, ">=", @$, $1, $3); }
  | expr EQ expr { $$ = build_binary(p, "==", @$, $1, $3); }
  | expr NE expr { $$ = build_binary(p, "!=", @$, $1, $3); }
  | REDUCE binders expr %prec BODY { $$ = with_name(MAKE(REDUCE, @$, $2, $3), $1, @1); }
  | expr '+' expr { $$ = build_binary(p, "+", @$, $1, $3); }
  | expr '-' expr { $$ = build_binary(p, "-", @$, $1, $3); }
  | expr '*' expr { $$ = build_binary(p, "*", @$, $1, $3); }
  | expr '/' expr { $$ = build_binary(p, "/", @$, $1, $3); }
  | expr INTDIV expr { $$ = build_binary(p, "//", @$, $1, $3); }
  | expr '%' expr { $$ = build_binary(p, "%", @$, $1, $3); }
  | '-' expr %prec NEGATION { $$ = build_unary(p, "-", @$, $2); }
  | expr '^' expr { $$ = build_binary(p, "^", @$, $1, $3); }

primary:
    NUMBER
  | STRING { $$ = with_text(LEAF(STRING, @1), $1); }
  | TRUE { $$ = LEAF(BOOL, @1); $$->number = 1; }
  | FALSE { $$ = LEAF(BOOL, @1); }
  | NAME { $$ = build_name(p, $1, @1); }
  | indexed
  | call
  | labelled
  | '(' expr ')' { $$ = $2; }
  | '(' expressions ',' expr ')' { $$ = MAKE_LIST(TUPLE, @$, nodes_add(p, $2, $4)); }
  | '(' group ')' { $$ = MAKE_LIST(GROUP, @$, $2); $$->span = @$; nodes_add(p, &p->groups, $$); }
  | '[' ']' { $$ = LEAF(LIST, @$); }
  | '[' expressions ']' { $$ = MAKE_LIST(LIST, @$, $2); }

expressions:
    expr { $$ = nodes_of(p, $1); }
  | expressions ',' expr { $$ = nodes_add(p, $1, $3); }

group:
    NAME NAME { $$ = nodes_add(p, nodes_of(p, build_name(p, $1, @1)), build_name(p, $2, @2)); }
  | group NAME { $$ = nodes_add(p, $1, build_name(p, $2, @2)); }

indexed: NAME dims { $$ = with_name(MAKE(INDEXED, @$, $2), $1, @1); }

callee:
    NAME { $$ = build_name(p, $1, @1); }
  | call
  | labelled

call:
    callee '(' arguments ')' { $$ = build_call(p, @$, $1, NULL, $3); }
  | NAME dims '(' arguments ')' { $$ = build_call(p, @$, build_name(p, $1, @1), binders_of_dims(p, $2), $4); }

labelled:
    path ':' NAME %prec LABELLED { $$ = MAKE(LABELLED, @$, MAKE_LIST(PATH, @1, $1), build_name(p, $3, @3)); }
  | path ':' NAME '(' arguments ')'
    {
        Span inner = {@3.file, @3.begin, @6.end};
        Node *module = build_call(p, inner, build_name(p, $3, @3), NULL, $5);
        $$ = MAKE(LABELLED, @$, MAKE_LIST(PATH, @1, $1), module);
    }

path:
    NAME { $$ = nodes_of(p, with_text(build_name(p, $1, @1), $1)); }
  | path '.' part { $$ = nodes_add(p, $1, $3); }

part:
    NAME { $$ = with_text(build_name(p, $1, @1), $1); }
  | NUMBER
  | '{' expr '}' { $$ = $2; }

arguments:
    %empty { $$ = nodes_of(p, NULL); }
  | argument_list

argument_list:
    argument { $$ = nodes_of(p, $1); }
  | argument_list ',' argument { $$ = nodes_add(p, $1, $3); }

argument:
    expr
  | NAME '=' expr { $$ = with_name(MAKE(NAMED, @$, $3), $1, @1); }

dims:
    '[' ']' { $$ = LEAF(DIMS, @$); }
  | '[' positions ']' { $$ = build_dims(p, @$, $2); }

positions:
    position { $$ = nodes_of(p, $1); }
  | positions ',' position { $$ = nodes_add(p, $1, $3); }

position:
    expr
  | DOTDOT { $$ = LEAF(ELLIPSIS, @$); }

binders:
    '[' bounds ']' { $$ = MAKE_LIST(BINDERS, @$, $2); }
  | '[' bounds WHERE expr ']' { $$ = MAKE_LIST(BINDERS, @$, nodes_add(p, $2, $4)); $$->guarded = true; }

bounds:
    bound { $$ = nodes_of(p, $1); }
  | bounds ',' bound { $$ = nodes_add(p, $1, $3); }

bound:
    NAME { $$ = with_name(MAKE(BOUND, @$, NULL), $1, @1); }
  | NAME '<' expr { $$ = with_name(MAKE(BOUND, @$, $3), $1, @1); }
  | DOTDOT { $$ = LEAF(ELLIPSIS, @$); }

%%

static int stm_yylex(STM_YYSTYPE *value, Span *at, Parse *p) {
    if (p->next == p->tokens->token.count) p->next--; // the end is given as often as it is asked for
    const Token *token = &p->tokens->token.at[p->next++];
    *at = (Span){p->file, token->begin, token->end};
    switch (token->kind) {
    case T_NUMBER: value->node = build_number(p, token); break;
    case T_STRING: value->name = string_value(p, token); break;
    case T_NAME:
    case T_REDUCE:
        value->name = intern(p->names, p->source->text + token->begin, (size_t)(token->end - token->begin));
        break;
    default: value->name = NULL; break;
    }
    return token->kind;
}

// Only reached when the parser's stack is used up.
static void stm_yyerror(Span *at, Parse *p, const char *message) {
    (void)message;
    report_nesting(p, *at);
}

static int yyreport_syntax_error(const yypcontext_t *context, Parse *p) {
    bool expected[YYMAXUTOK + 1] = {0};
    yysymbol_kind_t kinds[YYNTOKENS];
    int count = yypcontext_expected_tokens(context, kinds, YYNTOKENS);
    for (int token = 0; token <= YYMAXUTOK; token++)
        for (int k = 0; k < count; k++)
            if (YYTRANSLATE(token) == kinds[k]) expected[token] = true;
    report_unexpected(p, expected);
    return 0;
}

Node *parse_file(Arena *arena, Names *names, Sources *sources, Diagnostics *d, int file) {
    int before = diagnostics_count(d);
    Tokens *tokens = NEW(arena, Tokens);
    Source source = sources->file.at[file];
    Parse parse = {.arena = arena, .names = names, .d = d, .source = &source, .file = file, .tokens = tokens};
    scan_source(arena, &source, file, d, tokens);
    if (tokens->too_deep) return NULL;
    parse.resumed = parse.told = -1;
    int failed = stm_yyparse(&parse);
    check_groups(&parse);
    if (failed == 0 && diagnostics_count(d) == before) return parse.root;
    if (diagnostics_count(d) == before) DIE("%s: the parser failed without a message", source.path);
    return NULL;
}
