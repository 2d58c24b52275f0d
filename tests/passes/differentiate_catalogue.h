// Programs whose gradients differentiate_test.c compares with central differences. Axes: b has 3 elements, n has 4.
static const Case catalogue[] = {
    {"linear layer",
     HEAD
     "tensor 0 param f64 x [b 5]\ntensor 1 param f64 w [4 5]\ntensor 2 param f64 bias [4]\ntensor 3 temp f64 z [b 4]\n"
     "tensor 4 temp f64 y [b 4]\ntensor 5 temp f64 l []\ntensor 6 temp f64 gx [b 5]\ntensor 7 temp f64 gw [4 5]\n"
     "tensor 8 temp f64 gb [4]\njob t\n"
     "  %3[s:b, o:4] = sum[i:5] mul(%0[s, i], %1[o, i])\n"
     "  %4[s:b, o:4] = tanh(add(%3[s, o], %2[o]))\n"
     "  %5[] = sum[s:b, o:4] mul(%4[s, o], %4[s, o])\n"
     "  gradient %6 of %0\n  gradient %7 of %1\n  gradient %8 of %2\n  loss %5\nend\n",
     NULL, NULL},
    {"linear without tanh is two plain contractions",
     HEAD
     "tensor 0 param f64 x [b 5]\ntensor 1 param f64 w [4 5]\ntensor 2 input f64 t [b 4]\ntensor 3 temp f64 y [b 4]\n"
     "tensor 4 temp f64 l []\ntensor 5 temp f64 gx [b 5]\ntensor 6 temp f64 gw [4 5]\njob t\n"
     "  %3[s:b, o:4] = sum[i:5] mul(%0[s, i], %1[o, i])\n"
     "  %4[] = sum[s:b, o:4] mul(sub(%3[s, o], %2[s, o]), sub(%3[s, o], %2[s, o]))\n"
     "  gradient %5 of %0\n  gradient %6 of %1\n  loss %4\nend\n",
     "%6[v0:4, v1:5] = sum[s:b] mul(%7[s, v0], %0[s, v1])", "select"},
    {"batched matmul",
     HEAD "tensor 0 param f64 q [b 2 n 3]\ntensor 1 param f64 k [b 2 n 3]\ntensor 2 temp f64 s [b 2 n n]\n"
          "tensor 3 temp f64 l []\ntensor 4 temp f64 gq [b 2 n 3]\ntensor 5 temp f64 gk [b 2 n 3]\njob t\n"
          "  %2[a:b, h:2, i:n, j:n] = sum[c:3] mul(%0[a, h, i, c], %1[a, h, j, c])\n"
          "  %3[] = sum[a:b, h:2, i:n, j:n] mul(%2[a, h, i, j], add(%2[a, h, i, j], f64(index(j))))\n"
          "  gradient %4 of %0\n  gradient %5 of %1\n  loss %3\nend\n",
     NULL, "select"},
    {"one tensor twice",
     HEAD
     "tensor 0 param f64 x [b 3]\ntensor 1 temp f64 s [b b]\ntensor 2 temp f64 l []\ntensor 3 temp f64 g [b 3]\njob t\n"
     "  %1[i:b, j:b] = sum[c:3] mul(%0[i, c], %0[j, c])\n"
     "  %2[] = sum[i:b, j:b] mul(%1[i, j], add(%1[i, j], f64(index(j))))\n"
     "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, NULL},
    {"convolution",
     HEAD "tensor 0 param f64 x [b 2 5 6]\ntensor 1 param f64 w [3 2 3 3]\ntensor 2 temp f64 y [b 3 5 6]\n"
          "tensor 3 temp f64 l []\ntensor 4 temp f64 gx [b 2 5 6]\ntensor 5 temp f64 gw [3 2 3 3]\njob t\n"
          "  %2[s:b, o:3, i:5, j:6] = sum[c:2, u:3, v:3] mul(%0[s, c, (i + u - 1), (j + v - 1)], %1[o, c, u, v])\n"
          "  %3[] = sum[s:b, o:3, i:5, j:6] mul(%2[s, o, i, j], add(%2[s, o, i, j], f64(index(j))))\n"
          "  gradient %4 of %0\n  gradient %5 of %1\n  loss %3\nend\n",
     NULL, "select"},
    {"strided convolution",
     HEAD "tensor 0 param f64 x [b 2 7 7]\ntensor 1 param f64 w [3 2 3 3]\ntensor 2 temp f64 y [b 3 4 4]\n"
          "tensor 3 temp f64 l []\ntensor 4 temp f64 gx [b 2 7 7]\ntensor 5 temp f64 gw [3 2 3 3]\njob t\n"
          "  %2[s:b, o:3, i:4, j:4] = sum[c:2, u:3, v:3] mul(%0[s, c, (2*i + u - 1), (2*j + v - 1)], %1[o, c, u, v])\n"
          "  %3[] = sum[s:b, o:3, i:4, j:4] mul(%2[s, o, i, j], add(%2[s, o, i, j], f64(index(j))))\n"
          "  gradient %4 of %0\n  gradient %5 of %1\n  loss %3\nend\n",
     "/2!", "select"},
    {"dilated grouped convolution",
     HEAD "tensor 0 param f64 x [b 4 7]\ntensor 1 param f64 w [6 2 3]\ntensor 2 temp f64 y [b 6 5]\n"
          "tensor 3 temp f64 l []\ntensor 4 temp f64 gx [b 4 7]\ntensor 5 temp f64 gw [6 2 3]\n"
          "tensor 6 temp f64 yg [b 2 3 5]\ntensor 7 temp f64 wg [2 3 2 3]\njob t\n"
          "  %7 = view %1\n"
          "  %6[s:b, g:2, o:3, i:5] = sum[c:2, u:3] mul(%0[s, (2*g + c), (i + 2*u - 1)], %7[g, o, c, u])\n"
          "  %2 = view %6\n"
          "  %3[] = sum[s:b, o:6, i:5] mul(%2[s, o, i], add(%2[s, o, i], f64(index(i))))\n"
          "  gradient %4 of %0\n  gradient %5 of %1\n  loss %3\nend\n",
     NULL, NULL},
    {"depthwise with stride 3 and dilation 2",
     HEAD "tensor 0 param f64 x [2 11]\ntensor 1 param f64 w [2 3]\ntensor 2 temp f64 y [2 3]\n"
          "tensor 3 temp f64 l []\ntensor 4 temp f64 gx [2 11]\ntensor 5 temp f64 gw [2 3]\njob t\n"
          "  %2[c:2, i:3] = sum[u:3] mul(%0[c, (3*i + 2*u - 1)], %1[c, u])\n"
          "  %3[] = sum[c:2, i:3] mul(%2[c, i], add(%2[c, i], f64(index(i))))\n"
          "  gradient %4 of %0\n  gradient %5 of %1\n  loss %3\nend\n",
     NULL, NULL},
    {"patch embedding",
     HEAD "tensor 0 param f64 x [b 2 8 8]\ntensor 1 param f64 w [3 2 4 4]\ntensor 2 temp f64 y [b 3 2 2]\n"
          "tensor 3 temp f64 l []\ntensor 4 temp f64 gx [b 2 8 8]\ntensor 5 temp f64 gw [3 2 4 4]\njob t\n"
          "  %2[s:b, o:3, i:2, j:2] = sum[c:2, u:4, v:4] mul(%0[s, c, (4*i + u), (4*j + v)], %1[o, c, u, v])\n"
          "  %3[] = sum[s:b, o:3, i:2, j:2] mul(%2[s, o, i, j], add(%2[s, o, i, j], f64(index(j))))\n"
          "  gradient %4 of %0\n  gradient %5 of %1\n  loss %3\nend\n",
     "//4", NULL},
    {"transposed convolution by exact division",
     HEAD "tensor 0 param f64 x [b 2 4]\ntensor 1 param f64 w [2 3 3]\ntensor 2 temp f64 y [b 3 9]\n"
          "tensor 3 temp f64 l []\ntensor 4 temp f64 gx [b 2 4]\ntensor 5 temp f64 gw [2 3 3]\njob t\n"
          "  %2[s:b, o:3, i:9] = sum[c:2, u:3] mul(%0[s, c, (i - u)/2!], %1[c, o, u])\n"
          "  %3[] = sum[s:b, o:3, i:9] mul(%2[s, o, i], add(%2[s, o, i], f64(index(i))))\n"
          "  gradient %4 of %0\n  gradient %5 of %1\n  loss %3\nend\n",
     NULL, NULL},
    {"max pool, odd size",
     HEAD "tensor 0 param f64 x [b 5 7]\ntensor 1 temp f64 y [b 2 3]\ntensor 2 temp f64 l []\ntensor 3 temp f64 g [b 5 "
          "7]\njob t\n"
          "  %1[s:b, i:2, j:3] = max[u:2, v:2] %0[s, (2*i + u), (2*j + v)]\n"
          "  %2[] = sum[s:b, i:2, j:3] mul(%1[s, i, j], %1[s, i, j])\n"
          "  gradient %3 of %0\n  loss %2\nend\n",
     "argmax", "scatter"},
    {"max pool, overlapping, padded",
     HEAD
     "tensor 0 param f64 x [b 5 5]\ntensor 1 temp f64 y [b 3 3]\ntensor 2 temp f64 l []\ntensor 3 temp f64 g [b 5 "
     "5]\njob t\n"
     "  %1[s:b, i:3, j:3] = max[u:3, v:3] select(and(and(le(0i32, isub(iadd(imul(2i32, index(i)), index(u)), 1i32)), "
     "lt(isub(iadd(imul(2i32, index(i)), index(u)), 1i32), 5i32)), and(le(0i32, isub(iadd(imul(2i32, index(j)), "
     "index(v)), 1i32)), lt(isub(iadd(imul(2i32, index(j)), index(v)), 1i32), 5i32))), "
     "%0[s, (2*i + u - 1), (2*j + v - 1)], -inf)\n"
     "  %2[] = sum[s:b, i:3, j:3] mul(%1[s, i, j], %1[s, i, j])\n"
     "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, "scatter"},
    {"min over rows",
     HEAD
     "tensor 0 param f64 x [b 7]\ntensor 1 temp f64 y [b]\ntensor 2 temp f64 l []\ntensor 3 temp f64 g [b 7]\njob t\n"
     "  %1[s:b] = min[d:7] mul(%0[s, d], sub(%0[s, d], 0.3))\n"
     "  %2[] = sum[s:b] mul(%1[s], %1[s])\n"
     "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, NULL},
    {"average pool, odd size",
     HEAD "tensor 0 param f64 x [b 5 7]\ntensor 1 temp f64 y [b 2 3]\ntensor 2 temp f64 l []\ntensor 3 temp f64 g [b 5 "
          "7]\njob t\n"
          "  %1[s:b, i:2, j:3] = sum[u:2, v:2] mul(0.25, %0[s, (2*i + u), (2*j + v)])\n"
          "  %2[] = sum[s:b, i:2, j:3] mul(%1[s, i, j], %1[s, i, j])\n"
          "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, "sum[u:2, v:2] mul(%4"},
    {"average pool, stride 3 window 2",
     HEAD
     "tensor 0 param f64 x [b 9]\ntensor 1 temp f64 y [b 3]\ntensor 2 temp f64 l []\ntensor 3 temp f64 g [b 9]\njob t\n"
     "  %1[s:b, i:3] = sum[u:2] %0[s, (3*i + u)]\n"
     "  %2[] = sum[s:b, i:3] mul(%1[s, i], %1[s, i])\n"
     "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, NULL},
    {"plain window sums of a constant slope",
     HEAD "tensor 0 param f64 x [b 9]\ntensor 1 temp f64 l []\ntensor 2 temp f64 g [b 9]\njob t\n"
          "  %1[] = sum[s:b, i:8, u:4] %0[s, (i + u - 2)]\n"
          "  gradient %2 of %0\n  loss %1\nend\n",
     NULL, NULL},
    {"softmax and cross entropy",
     HEAD
     "tensor 0 param f64 x [b 5]\ntensor 1 input i32 t [b]\ntensor 2 temp f64 m [b]\ntensor 3 temp f64 e [b 5]\n"
     "tensor 4 temp f64 z [b]\ntensor 5 temp f64 y [b 5]\ntensor 6 temp f64 l []\ntensor 7 temp f64 g [b 5]\njob t\n"
     "  %2[s:b] = max[d:5] %0[s, d]\n"
     "  %3[s:b, d:5] = exp(sub(%0[s, d], %2[s]))\n"
     "  %4[s:b] = sum[d:5] %3[s, d]\n"
     "  %5[s:b, d:5] = div(%3[s, d], %4[s])\n"
     "  %6[] = sum[s:b] neg(log(%5[s, @%1[s]]))\n"
     "  gradient %7 of %0\n  loss %6\nend\n",
     "scatter", NULL},
    {"layernorm",
     HEAD "tensor 0 param f64 x [b 5]\ntensor 1 param f64 w [5]\ntensor 2 param f64 bias [5]\ntensor 3 temp f64 m [b]\n"
          "tensor 4 temp f64 v [b]\ntensor 5 temp f64 y [b 5]\ntensor 6 temp f64 l []\ntensor 7 temp f64 gx [b 5]\n"
          "tensor 8 temp f64 gw [5]\ntensor 9 temp f64 gb [5]\njob t\n"
          "  %3[s:b] = sum[d:5] mul(%0[s, d], 0.2)\n"
          "  %4[s:b] = sum[d:5] mul(mul(sub(%0[s, d], %3[s]), sub(%0[s, d], %3[s])), 0.2)\n"
          "  %5[s:b, d:5] = add(mul(mul(sub(%0[s, d], %3[s]), rsqrt(add(%4[s], 1e-05))), %1[d]), %2[d])\n"
          "  %6[] = sum[s:b, d:5] mul(%5[s, d], mul(%5[s, d], f64(index(d))))\n"
          "  gradient %7 of %0\n  gradient %8 of %1\n  gradient %9 of %2\n  loss %6\nend\n",
     NULL, NULL},
    {"batchnorm over rows of run-time number",
     HEAD "tensor 0 param f64 x [b 3 4]\ntensor 1 param f64 w [3]\ntensor 2 temp f64 m [3]\ntensor 3 temp f64 v [3]\n"
          "tensor 4 temp f64 y [b 3 4]\ntensor 5 temp f64 l []\ntensor 6 temp f64 gx [b 3 4]\ntensor 7 temp f64 gw "
          "[3]\njob t\n"
          "  %2[c:3] = sum[s:b, i:4] div(%0[s, c, i], f64(extent(4*b)))\n"
          "  %3[c:3] = sum[s:b, i:4] div(mul(sub(%0[s, c, i], %2[c]), sub(%0[s, c, i], %2[c])), f64(extent(4*b)))\n"
          "  %4[s:b, c:3, i:4] = mul(div(sub(%0[s, c, i], %2[c]), sqrt(add(%3[c], 1e-05))), %1[c])\n"
          "  %5[] = sum[s:b, c:3, i:4] mul(%4[s, c, i], mul(%4[s, c, i], f64(index(i))))\n"
          "  gradient %6 of %0\n  gradient %7 of %1\n  loss %5\nend\n",
     NULL, NULL},
    {"embedding",
     HEAD
     "tensor 0 param f64 table [3 4]\ntensor 1 input i32 t [b n]\ntensor 2 temp f64 y [b n 4]\ntensor 3 temp f64 l []\n"
     "tensor 4 temp f64 g [3 4]\njob t\n"
     "  %2[s:b, i:n, d:4] = %0[@%1[s, i], d]\n"
     "  %3[] = sum[s:b, i:n, d:4] mul(%2[s, i, d], add(%2[s, i, d], f64(index(i))))\n"
     "  gradient %4 of %0\n  loss %3\nend\n",
     "scatter %4[@%1[s, i], d] += ", NULL},
    {"graph aggregation with a mask",
     HEAD
     "tensor 0 param f64 h [3 4]\ntensor 1 param f64 a [n 5]\ntensor 2 input i32 nb [n 5]\ntensor 3 temp f64 m [n 4]\n"
     "tensor 4 temp f64 l []\ntensor 5 temp f64 gh [3 4]\ntensor 6 temp f64 ga [n 5]\njob t\n"
     "  %3[i:n, d:4] = sum[e:5] select(lt(0, %1[i, e]), mul(%1[i, e], %0[@%2[i, e], d]), 0)\n"
     "  %4[] = sum[i:n, d:4] mul(%3[i, d], %3[i, d])\n"
     "  gradient %5 of %0\n  gradient %6 of %1\n  loss %4\nend\n",
     NULL, NULL},
    {"a scatter in the forward pass",
     HEAD "tensor 0 param f64 x [n 2]\ntensor 1 input i32 to [n]\ntensor 2 temp f64 y [3 2]\ntensor 3 temp f64 l []\n"
          "tensor 4 temp f64 g [n 2]\njob t\n"
          "  scatter %2[@%1[e], (d + 1)] += mul(%0[e, d], %0[e, d]) over [e:n, d:2]\n"
          "  %3[] = sum[i:3, d:2] mul(%2[i, d], %2[i, d])\n"
          "  gradient %4 of %0\n  loss %3\nend\n",
     NULL, NULL},
    {"concatenation",
     HEAD "tensor 0 param f64 x [b 3]\ntensor 1 param f64 z [b 2]\ntensor 2 temp f64 y [b 5]\ntensor 3 temp f64 l []\n"
          "tensor 4 temp f64 gx [b 3]\ntensor 5 temp f64 gz [b 2]\njob t\n"
          "  %2[s:b, d:5] = select(lt(index(d), 3i32), %0[s, d], %1[s, (d - 3)])\n"
          "  %3[] = sum[s:b, d:5] mul(%2[s, d], add(%2[s, d], f64(index(d))))\n"
          "  gradient %4 of %0\n  gradient %5 of %1\n  loss %3\nend\n",
     NULL, "scatter"},
    {"lstm cell",
     HEAD
     "tensor 0 param f64 x [b 3]\ntensor 1 param f64 h [b 2]\ntensor 2 param f64 c [b 2]\ntensor 3 param f64 wi [8 3]\n"
     "tensor 4 param f64 wh [8 2]\ntensor 5 temp f64 zi [b 8]\ntensor 6 temp f64 zh [b 8]\ntensor 7 temp f64 z [b 8]\n"
     "tensor 8 temp f64 c1 [b 2]\ntensor 9 temp f64 h1 [b 2]\ntensor 10 temp f64 l []\ntensor 11 temp f64 gwi [8 3]\n"
     "tensor 12 temp f64 gwh [8 2]\ntensor 13 temp f64 gx [b 3]\ntensor 14 temp f64 gh [b 2]\ntensor 15 temp f64 gc [b "
     "2]\njob t\n"
     "  %5[s:b, o:8] = sum[i:3] mul(%0[s, i], %3[o, i])\n"
     "  %6[s:b, o:8] = sum[i:2] mul(%1[s, i], %4[o, i])\n"
     "  %7[s:b, o:8] = add(%5[s, o], %6[s, o])\n"
     "  %8[s:b, d:2] = add(mul(sigmoid(%7[s, (d + 2)]), %2[s, d]), mul(sigmoid(%7[s, d]), tanh(%7[s, (d + 4)])))\n"
     "  %9[s:b, d:2] = mul(sigmoid(%7[s, (d + 6)]), tanh(%8[s, d]))\n"
     "  %10[] = sum[s:b, d:2] add(mul(%9[s, d], %9[s, d]), %8[s, d])\n"
     "  gradient %11 of %3\n  gradient %12 of %4\n  gradient %13 of %0\n  gradient %14 of %1\n  gradient %15 of %2\n"
     "  loss %10\nend\n",
     NULL, "scatter"},
    {"masked mean",
     HEAD "tensor 0 param f64 x [b 5]\ntensor 1 input bool m [b 5]\ntensor 2 temp f64 n [b]\ntensor 3 temp f64 t [b]\n"
          "tensor 4 temp f64 y [b]\ntensor 5 temp f64 l []\ntensor 6 temp f64 g [b 5]\njob t\n"
          "  %2[s:b] = sum[d:5] select(%1[s, d], 1, 0)\n"
          "  %3[s:b] = sum[d:5] select(%1[s, d], exp(%0[s, d]), 0)\n"
          "  %4[s:b] = select(lt(0, %2[s]), div(%3[s], %2[s]), 0)\n"
          "  %5[] = sum[s:b] mul(%4[s], %4[s])\n"
          "  gradient %6 of %0\n  loss %5\nend\n",
     NULL, NULL},
    {"diagonal",
     HEAD "tensor 0 param f64 x [4 4]\ntensor 1 temp f64 l []\ntensor 2 temp f64 g [4 4]\njob t\n"
          "  %1[] = sum[i:4] mul(%0[i, i], mul(%0[i, i], f64(index(i))))\n"
          "  gradient %2 of %0\n  loss %1\nend\n",
     NULL, "scatter"},
    {"constant positions and flips",
     HEAD "tensor 0 param f64 x [b 4 5]\ntensor 1 temp f64 y [b 5]\ntensor 2 temp f64 l []\ntensor 3 temp f64 g [b 4 "
          "5]\njob t\n"
          "  %1[s:b, i:5] = mul(%0[s, 2, (-i + 4)], %0[s, 0, i])\n"
          "  %2[] = sum[s:b, i:5] mul(%1[s, i], f64(index(i)))\n"
          "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, "scatter"},
    {"relative positions",
     HEAD
     "tensor 0 param f64 t [7]\ntensor 1 temp f64 y [4 4]\ntensor 2 temp f64 l []\ntensor 3 temp f64 g [7]\njob t\n"
     "  %1[i:4, j:4] = exp(%0[(i - j + 3)])\n"
     "  %2[] = sum[i:4, j:4] mul(%1[i, j], add(f64(index(i)), mul(%1[i, j], f64(index(j)))))\n"
     "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, "scatter"},
    {"repeat by floor division, digits",
     HEAD "tensor 0 param f64 x [b 4]\ntensor 1 param f64 z [3 4]\ntensor 2 temp f64 y [b 12]\ntensor 3 temp f64 l []\n"
          "tensor 4 temp f64 gx [b 4]\ntensor 5 temp f64 gz [3 4]\njob t\n"
          "  %2[s:b, i:12] = mul(%0[s, i//3], %1[i%3, (i//3)%4])\n"
          "  %3[] = sum[s:b, i:12] mul(%2[s, i], add(%2[s, i], f64(index(i))))\n"
          "  gradient %4 of %0\n  gradient %5 of %1\n  loss %3\nend\n",
     NULL, "scatter"},
    {"missing digits and a short dimension",
     HEAD
     "tensor 0 param f64 x [3 5]\ntensor 1 temp f64 y [17]\ntensor 2 temp f64 l []\ntensor 3 temp f64 g [3 5]\njob t\n"
     "  %1[i:17] = sin(%0[i//8, (i//2)%4])\n"
     "  %2[] = sum[i:17] mul(%1[i], add(%1[i], f64(index(i))))\n"
     "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, "scatter"},
    {"quotient and remainder of two variables",
     HEAD "tensor 0 param f64 x [4]\ntensor 1 param f64 z [3]\ntensor 2 temp f64 y [5 3]\ntensor 3 temp f64 l []\n"
          "tensor 4 temp f64 gx [4]\ntensor 5 temp f64 gz [3]\njob t\n"
          "  %2[i:5, u:3] = mul(%0[(i + u - 1)//2], %1[(i - u + 1)%3])\n"
          "  %3[] = sum[i:5, u:3] mul(%2[i, u], add(%2[i, u], f64(index(i))))\n"
          "  gradient %4 of %0\n  gradient %5 of %1\n  loss %3\nend\n",
     NULL, NULL},
    {"split and merge through views",
     HEAD
     "tensor 0 param f64 x [b 6]\ntensor 1 temp f64 a [b 2 3]\ntensor 2 temp f64 c [2*b 3]\ntensor 3 temp f64 d [6*b]\n"
     "tensor 4 temp f64 l []\ntensor 5 temp f64 g [b 6]\njob t\n"
     "  %1 = view %0\n  %2 = view %1\n  %3 = view %0\n"
     "  %4[] = sum[i:2*b, j:3] mul(mul(%2[i, j], %3[(3*i + j)]), add(1, mul(%1[i//2, i%2, j], f64(index(i)))))\n"
     "  gradient %5 of %0\n  loss %4\nend\n",
     NULL, NULL},
    {"views of run-time size",
     HEAD "tensor 0 param f64 x [b n 3]\ntensor 1 temp f64 a [b 3*n]\ntensor 2 temp f64 l []\ntensor 3 temp f64 g [b n "
          "3]\njob t\n"
          "  %1 = view %0\n  %2[] = sum[s:b, i:3*n] mul(%1[s, i], mul(%1[s, i], f64(index(i))))\n"
          "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, NULL},
    {"a tiling of run-time size",
     HEAD
     "tensor 0 param f64 x [3*b]\ntensor 1 temp f64 y [b 3]\ntensor 2 temp f64 l []\ntensor 3 temp f64 g [3*b]\njob t\n"
     "  %1[s:b, u:3] = sin(%0[(3*s + u)])\n  %2[] = sum[s:b, u:3] mul(%1[s, u], f64(index(u)))\n"
     "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, "scatter"},
    {"argmax stops, the rest goes on",
     HEAD
     "tensor 0 param f64 x [b 5]\ntensor 1 temp i32 a [b]\ntensor 2 temp f64 l []\ntensor 3 temp f64 g [b 5]\njob t\n"
     "  %1[s:b] = argmax[d:5] %0[s, d]\n"
     "  %2[] = sum[s:b] mul(%0[s, @%1[s]], %0[s, @%1[s]])\n"
     "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, NULL},
    {"product of elements",
     HEAD "tensor 0 param f64 x [b 4]\ntensor 1 temp f64 y [b]\ntensor 2 temp f64 l []\n"
          "tensor 3 temp f64 g [b 4]\njob t\n"
          "  %1[s:b] = prod[d:4] mul(%0[s, d], 1.5)\n"
          "  %2[] = sum[s:b] mul(%1[s], add(%1[s], 1))\n"
          "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, NULL},
    {"guarded logarithm: the arm not chosen adds nothing",
     HEAD "tensor 0 param f64 x [b 5]\ntensor 1 temp f64 l []\ntensor 2 temp f64 g [b 5]\njob t\n"
          "  %1[] = sum[s:b, d:5] select(lt(0.01, %0[s, d]), log(mul(%0[s, d], %0[s, d])), "
          "select(lt(%0[s, d], -0.5), sqrt(sub(0, %0[s, d])), mul(%0[s, d], 3)))\n"
          "  gradient %2 of %0\n  loss %1\nend\n",
     NULL, NULL},
    {"a shifted read divided: what is outside stays zero, not 0/0",
     HEAD "tensor 0 param f64 x [5]\ntensor 1 input f64 z [5]\ntensor 2 temp f64 y [5]\ntensor 3 temp f64 l []\n"
          "tensor 4 temp f64 g [5]\njob t\n"
          "  %2[i:5] = div(%0[(i + 1)], %1[i])\n  %3[] = sum[i:5] mul(%2[i], f64(index(i)))\n"
          "  gradient %4 of %0\n  loss %3\nend\n",
     NULL, NULL},
    {"dropout inside an activation and into a reduction",
     HEAD
     "tensor 0 param f64 x [b 5]\ntensor 1 param f64 w [5]\ntensor 2 scalar i32 seed []\ntensor 3 scalar i32 step []\n"
     "tensor 4 temp f64 y [b 5]\ntensor 5 temp f64 l []\ntensor 6 temp f64 gx [b 5]\ntensor 7 temp f64 gw [5]\n"
     "random seed 2 step 3\njob t\n"
     "  %4[s:b, d:5] = select(lt(random(4), 0.5), mul(%0[s, d], %1[d]), 0)\n"
     "  %5[] = sum[s:b, d:5] mul(%4[s, d], %4[s, d])\n"
     "  gradient %6 of %0\n  gradient %7 of %1\n  loss %5\nend\n",
     NULL, NULL},
    {"a parameter without influence",
     HEAD "tensor 0 param f64 x [2]\ntensor 1 param f64 z [2]\ntensor 2 temp f64 l []\ntensor 3 temp f64 gx [2]\n"
          "tensor 4 temp f64 gz [2]\ntensor 5 temp f64 again [2]\njob t\n"
          "  %2[] = sum[i:2] mul(%0[i], add(%0[i], stop_gradient(%0[1])))\n"
          "  gradient %4 of %1\n  loss %2\nend\n",
     NULL, NULL},
    {"requested twice, and of an intermediate",
     HEAD "tensor 0 param f64 x [2]\ntensor 1 temp f64 y [2]\ntensor 2 temp f64 l []\ntensor 3 temp f64 gx [2]\n"
          "tensor 4 temp f64 gx2 [2]\njob t\n"
          "  %1[i:2] = exp(%0[i])\n  %2[] = sum[i:2] mul(%1[i], %1[i])\n"
          "  gradient %3 of %0\n  gradient %4 of %0\n  loss %2\nend\n",
     NULL, NULL},
    {"residual block used many times",
     HEAD
     "tensor 0 param f64 x [b 3]\ntensor 1 param f64 w [3 3]\ntensor 2 temp f64 y1 [b 3]\ntensor 3 temp f64 z1 [b 3]\n"
     "tensor 4 temp f64 y2 [b 3]\ntensor 5 temp f64 z2 [b 3]\ntensor 6 temp f64 l []\ntensor 7 temp f64 gx [b 3]\n"
     "tensor 8 temp f64 gw [3 3]\njob t\n"
     "  %2[s:b, o:3] = sum[i:3] mul(%0[s, i], %1[o, i])\n"
     "  %3[s:b, o:3] = add(%0[s, o], tanh(%2[s, o]))\n"
     "  %4[s:b, o:3] = sum[i:3] mul(%3[s, i], %1[o, i])\n"
     "  %5[s:b, o:3] = add(%3[s, o], tanh(%4[s, o]))\n"
     "  %6[] = sum[s:b, o:3] mul(%5[s, o], %5[s, o])\n"
     "  gradient %7 of %0\n  gradient %8 of %1\n  loss %6\nend\n",
     NULL, NULL},
    {"activation inside the contraction",
     HEAD
     "tensor 0 param f64 x [b 4]\ntensor 1 param f64 w [3 4]\ntensor 2 param f64 s [3]\ntensor 3 temp f64 y [b 3]\n"
     "tensor 4 temp f64 l []\ntensor 5 temp f64 gx [b 4]\ntensor 6 temp f64 gw [3 4]\ntensor 7 temp f64 gs [3]\njob t\n"
     "  %3[a:b, o:3] = sum[i:4] mul(mul(exp(%0[a, i]), %1[o, i]), %2[o])\n"
     "  %4[] = sum[a:b, o:3] mul(%3[a, o], %3[a, o])\n"
     "  gradient %5 of %0\n  gradient %6 of %1\n  gradient %7 of %2\n  loss %4\nend\n",
     NULL, NULL},
};

// The first element of every parameter is exactly zero.
static const Case zero_catalogue[] = {
    {"product with a zero",
     HEAD "tensor 0 param f64 x [b 4]\ntensor 1 temp f64 y [b]\ntensor 2 temp f64 l []\n"
          "tensor 3 temp f64 g [b 4]\njob t\n"
          "  %1[s:b] = prod[d:4] %0[s, d]\n"
          "  %2[] = sum[s:b] mul(%1[s], add(%1[s], 1))\n"
          "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, NULL},
    {"product with two zeros",
     HEAD "tensor 0 param f64 x [b 4]\ntensor 1 temp f64 y [b]\ntensor 2 temp f64 l []\n"
          "tensor 3 temp f64 g [b 4]\njob t\n"
          "  %1[s:b] = prod[d:4] mul(%0[s, d], %0[0, d//2])\n"
          "  %2[] = sum[s:b] mul(%1[s], add(%1[s], 1))\n"
          "  gradient %3 of %0\n  loss %2\nend\n",
     NULL, NULL},
    {"slopes at zero",
     HEAD "tensor 0 param f64 x [4]\ntensor 1 temp f64 l []\ntensor 2 temp f64 g [4]\njob t\n"
          "  %1[] = sum[d:4] add(pow(%0[d], 2), add(select(lt(%0[d], 0.01), 0, mul(log(%0[d]), rsqrt(%0[d]))), "
          "pow(%0[d], 3)))\n"
          "  gradient %2 of %0\n  loss %1\nend\n",
     NULL, NULL},
};
