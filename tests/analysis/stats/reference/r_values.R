# External values for tests/analysis/stats. Writes r_values.csv beside this file: name,value.
#
#   cd tests/analysis/stats/reference; Rscript r_values.R > r_values.csv
#
# R 4.2.2 with boot 1.3-28.1, sandwich 3.0-2, vcd 1.4-11 and coin 1.4-2 (Debian: r-cran-*), and
# scoreci.mp of PropCIs 0.3-0 and power_mcnemar_test of MESS 0.5 (CRAN), each built from its file.
suppressPackageStartupMessages({
  library(boot); library(sandwich); library(vcd); library(coin); library(PropCIs); library(MESS)
})
cat("name,value\n")
put <- function(name, value) {
  value <- unlist(unname(value))
  ending <- if (length(value) > 1) paste0(".", seq_along(value)) else ""
  cat(sprintf("%s%s,%.15g\n", name, ending, value), sep = "")
}

# one proportion
for (case in list(c(17, 30), c(0, 30), c(30, 30), c(3, 500))) for (level in c(0.95, 0.9)) {
  put(sprintf("clopper_pearson %d %d %g", case[1], case[2], level),
      as.vector(binom.test(case[1], case[2], conf.level = level)$conf.int))
  put(sprintf("wilson %d %d %g", case[1], case[2], level),
      as.vector(prop.test(case[1], case[2], conf.level = level, correct = FALSE)$conf.int))
}

# paired tables: candidate only, baseline only, n. scoreci.mp(b, c, n) is about (c - b) / n.
tables <- list(c(1, 7, 21), c(6, 16, 161), c(7, 0, 14), c(0, 7, 14), c(0, 0, 14), c(1, 0, 14),
               c(5, 5, 16), c(13, 1, 14), c(14, 0, 14), c(0, 14, 14), c(1, 1, 2), c(1, 0, 1),
               c(25, 12, 200), c(28, 25, 618), c(40, 20, 160), c(900, 1100, 10000))
for (t in tables) for (level in c(0.95, 0.9)) {
  found <- scoreci.mp(t[2], t[1], t[3], conf.level = level)
  put(sprintf("tango %d %d %d %g", t[1], t[2], t[3], level), as.vector(found$conf.int))
}
put("mcnemar 60 40", mcnemar.test(matrix(c(300, 40, 60, 100), 2), correct = TRUE)$p.value)
put("binomial 1 8", binom.test(1, 9)$p.value)

# several tests
p <- c(0.001, 0.2, 0.03, 0.04, 0.04, 0.9, 0.0123)
put("holm", p.adjust(p, "holm"))
put("bh", p.adjust(p, "BH"))

# bootstrap: the values of tests/analysis/stats/test_bootstrap.py
skewed <- c(0.1, 0.4, 0.2, 3.1, 0.9, 0.3, 1.7, 0.05, 0.6, 2.2, 0.7, 0.15, 5.9, 0.35, 1.1, 0.8, 0.25,
            1.4, 0.45, 0.5)
below <- c(1.2, 0.9, 1.1, 2.3, 0.8, 1.0, 1.9, 0.7, 1.3, 1.6, 0.6, 1.4, 2.9, 1.05, 0.95, 1.5, 0.85,
           1.7, 1.15, 1.25)
set.seed(1)
means <- boot(skewed, function(d, i) mean(d[i]), R = 400000)
put("bca mean", boot.ci(means, type = "bca")$bca[4:5])
put("percentile mean", boot.ci(means, type = "perc")$percent[4:5])
both <- cbind(skewed, below)
ratio <- function(d, i) sum(d[i, 1]) / sum(d[i, 2])
ratios <- boot(both, ratio, R = 400000)  # acceleration by the jackknife; its default is a regression
jackknife <- empinf(data = both, statistic = ratio, type = "jack", stype = "i")
put("bca ratio", boot.ci(ratios, type = "bca", L = jackknife)$bca[4:5])
set.seed(1)
few <- boot(rep(c(-1, 0, 1), c(3, 20, 9)), function(d, i) mean(d[i]), R = 400000)
put("bca few values", boot.ci(few, type = "bca")$bca[4:5])

# clustered standard error
clusters <- rep(1:6, c(1, 2, 3, 4, 4, 6))
put("clustered se", sqrt(vcovCL(lm(skewed ~ 1), clusters, type = "HC0", cadjust = TRUE)[1, 1]))

# sign flips: Fisher's and Pitman's test of paired values, every pattern
flips <- c(0.31, -0.12, 0.44, 0.07, -0.2, 0.53, 0.18, 0.29, -0.05)
pairs <- data.frame(y = c(flips, rep(0, 9)), arm = gl(2, 9), question = factor(rep(1:9, 2)))
put("sign flips", pvalue(symmetry_test(y ~ arm | question, pairs, distribution = exact())))

# equivalence and seeds
put("tost lower", t.test(skewed - below, mu = -0.5, alternative = "greater")$p.value)
put("tost upper", t.test(skewed - below, mu = 0.5, alternative = "less")$p.value)
put("tost interval", t.test(skewed - below, conf.level = 0.9)$conf.int[1:2])
scores <- c(0.692, 0.696, 0.694, 0.697, 0.693)
others <- c(0.641, 0.652, 0.645)
put("one sample t", c(t.test(scores, mu = 0.6467)$p.value, t.test(scores, mu = 0.6467)$conf.int[1:2]))
put("welch t", c(t.test(scores, others)$p.value, t.test(scores, others)$conf.int[1:2]))

# correlation, quadrants, trend
a <- c(3, 1, 4, 15, 9, 2, 6)
b <- c(2, 7, 1, 8, 28, 18, 4)
put("spearman 7", c(cor.test(a, b, method = "spearman", exact = TRUE)$p.value,
                    cor(a, b, method = "spearman")))
put("spearman 20", c(cor.test(skewed, below, method = "spearman", exact = TRUE)$p.value,
                     cor(skewed, below, method = "spearman")))
put("fisher", fisher.test(matrix(c(17, 11, 9, 4), 2))$p.value)
put("trend", prop.trend.test(c(10, 20, 30, 31), c(40, 41, 40, 39), c(1, 2, 3, 6))$p.value)
flat <- data.frame(y = c(t(matrix(c(
  0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1), 10, 3,
  byrow = TRUE))), level = rep(c(1, 2, 4), 10), question = gl(10, 3))
paired <- independence_test(y ~ level | question, flat)
put("paired trend", as.numeric(pvalue(paired)))

# agreement
table <- matrix(c(20, 5, 3, 4, 15, 6, 2, 1, 9), 3, byrow = TRUE)
kappa <- Kappa(table)
put("cohen", c(kappa$Unweighted[["value"]], confint(kappa)["Unweighted", ]))

# k samples: at least so many passes, n 10, c 4, k 5
put("hypergeometric", phyper(c(1, 2, 3, 4) - 1, 4, 6, 5, lower.tail = FALSE))

# McNemar's exact test: chance to reject with n questions, discordance 0.2, difference 0.05
power <- function(n, discordance, difference) {
  total <- 0
  for (m in 0:n) for (b in 0:m) if (m > 0 && binom.test(b, m)$p.value <= 0.05) {
    total <- total + dbinom(m, n, discordance) *
      dbinom(b, m, (discordance + difference) / (2 * discordance))
  }
  total
}
put("exact power", power(60, 0.2, 0.15))
# and approximately: difference (psi - 1) paid, discordance (psi + 1) paid
put("power", power_mcnemar_test(n = 500, paid = 0.075, psi = 0.125 / 0.075)$power)
put("needed n", power_mcnemar_test(power = 0.8, paid = 0.075, psi = 0.125 / 0.075)$n)
put("needed n 90", power_mcnemar_test(power = 0.9, paid = 0.125, psi = 2)$n)

# crossed questions and runs: mean squares
crossed <- data.frame(y = skewed, question = gl(5, 4), run = gl(4, 1, 20))
put("mean squares", summary(aov(y ~ question + run, crossed))[[1]][["Mean Sq"]])
