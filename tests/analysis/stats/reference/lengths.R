# Logistic regressions that tests/analysis/stats/test_lengths.py compares with.
#
#     Rscript lengths.R > lengths.csv
#
# Each row: a name, the ratios and wins, the intercept's rate with its Wald limits at 95%, the slope
# with its limits, and the slope's p. R 4.2.2, stats::glm.
cases <- list(
  plain = list(x = c(-2, -1.5, -1, -0.5, 0, 0.25, 0.5, 1, 1.5, 2, 2.5, 3),
               y = c(0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1)),
  unmoved = list(x = c(-1, 1, -1, 1, -1, 1, -1, 1), y = c(1, 1, 0, 0, 1, 1, 1, 0)),
  shorter = list(x = c(-3, -2, -1, -1, 0, 1, 1, 2, 3, 4), y = c(1, 1, 1, 0, 1, 0, 1, 0, 0, 1)),
  one_sided = list(x = c(0.5, 1, 1.5, 2, 2.5, 3), y = c(0, 1, 0, 1, 1, 0))
)
cat("name,x,y,rate,rate_low,rate_high,slope,slope_low,slope_high,p\n")
z <- qnorm(0.975)
for (name in names(cases)) {
  case <- cases[[name]]
  fit <- summary(glm(case$y ~ case$x, family = binomial(), control = list(epsilon = 1e-14)))$coefficients
  limits <- fit[, 1] + outer(fit[, 2], c(0, -z, z))
  cat(name, paste(case$x, collapse = " "), paste(case$y, collapse = " "),
      sprintf("%.10g", c(plogis(limits[1, ]), limits[2, ], fit[2, 4])), sep = ",")
  cat("\n")
}
