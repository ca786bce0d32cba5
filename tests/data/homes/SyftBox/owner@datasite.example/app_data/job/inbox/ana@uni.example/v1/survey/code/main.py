print('the mean of the ages')
