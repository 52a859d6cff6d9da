extern unsigned long volatile jiffies;
